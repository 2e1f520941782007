"""Questions about a model's numbers, answered on the engine's thread, a piece between two steps.

A text is read through the model as a request's is, on blocks of the cache of its own beside those
that are found there; nothing that is read for a question is found by others.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from itertools import chain

import numpy as np
import structlog

from inference import sampler
from inference.architectures.llama_trace import TracedPass
from inference.constraints.grammars import Grammars
from inference.constraints.matcher import Matcher
from inference.errors import (
    ContextLengthExceeded,
    DeviceLost,
    EngineError,
    InvalidParameter,
    QueueFull,
    RequestFailed,
)
from inference.examination import (
    ALTERNATIVES,
    STRIP,
    Alternative,
    Embedding,
    Examined,
    Inspected,
    Inspection,
    LayerTrace,
    Numbers,
    Question,
    Rotation,
    Scoring,
    Stage,
    TokenOdds,
    Trace,
    TraceRequest,
)
from inference.kv_cache import BLOCK_SIZE, KVCache
from inference.runner import Array, Runner
from inference.scheduler import Chunk
from inference.scorings import Scorer
from inference.sequence import Sequence
from inference.types import GenerateRequest, SamplingParams

log = structlog.get_logger(__name__)

QUEUE_LIMIT = 16
"""Questions that may wait."""

_Work = Generator[None, None, Examined]


class Examinations:
    """Belongs to the engine's thread. running: how many requests run at this moment. grammars: of
    the model, for answers that had to obey one."""

    def __init__(
        self,
        runner: Runner,
        cache: KVCache,
        running: Callable[[], int],
        grammars: Grammars | None = None,
    ) -> None:
        self._runner, self._cache, self._running = runner, cache, running
        self._grammars = grammars
        self._scorer = Scorer(runner, cache, running)
        self._waiting: dict[int, tuple[Question, _Work]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def tickets(self) -> list[int]:
        return list(self._waiting)

    def add(self, ticket: int, question: Question) -> None:
        """Raises QueueFull, InvalidParameter, ContextLengthExceeded."""
        if len(self._waiting) >= QUEUE_LIMIT:
            waiting = len(self._waiting)
            raise QueueFull(
                f"{waiting} questions are waiting already. Try again in a moment.",
                waiting=waiting,
                limit=QUEUE_LIMIT,
            )
        self._check(question)
        self._waiting[ticket] = question, self._work(question)

    def drop(self, ticket: int) -> None:
        """Unknown tickets are ignored."""
        _question, work = self._waiting.pop(ticket, (None, None))
        if work is not None:
            work.close()

    def forget(self, session: str) -> Iterator[tuple[int, EngineError]]:
        """The session was deleted: give back what holds its text, and say so."""
        for ticket, (question, _work) in list(self._waiting.items()):
            if isinstance(question, Inspection) and question.session == session:
                self.drop(ticket)
                yield ticket, RequestFailed("The session was deleted meanwhile.")

    def proceed(self) -> Iterator[tuple[int, Examined | EngineError]]:
        """A piece of the oldest question, and its answer where that was the last one. Raises
        DeviceLost."""
        for ticket, (_question, work) in list(self._waiting.items())[:1]:
            try:
                next(work)
            except StopIteration as done:
                self.drop(ticket)
                yield ticket, done.value
            except DeviceLost:
                raise
            except Exception as error:
                self.drop(ticket)
                log.exception("examination.failed")
                yield ticket, RequestFailed(f"The engine failed while computing: {error}")

    def _work(self, question: Question) -> _Work:
        if isinstance(question, Inspection):
            return self._inspect(question)
        if isinstance(question, TraceRequest):
            return self._trace(question)
        if isinstance(question, Scoring):
            return self._scorer.score(question)
        return self._scorer.embed(question)

    def _check(self, question: Question) -> None:
        config = self._runner.config
        texts = question.texts if isinstance(question, Embedding) else (question.ids,)
        for token in chain(*texts):
            if not 0 <= token < config.vocab_size:
                allowed = f"below the vocabulary of {config.vocab_size}"
                raise InvalidParameter("token", token, allowed)
        if not isinstance(question, TraceRequest):
            limit = min(config.context_length, self._cache.total_blocks * BLOCK_SIZE)
            longest = max(map(len, texts))
            if longest > limit:
                raise ContextLengthExceeded(longest, limit)
            return
        if question.layer >= config.layers:
            raise InvalidParameter("layer", question.layer, f"below {config.layers}")
        if question.head >= config.heads:
            raise InvalidParameter("head", question.head, f"below {config.heads}")

    def _inspect(self, asked: Inspection) -> _Work:
        """The tokens that are asked about are read one by one, as they were when they were
        written: so are the numbers that they came from."""
        ids, first, begin = asked.ids, asked.first, asked.answer_start
        matcher = yield from self._matcher(asked)
        request = GenerateRequest("inspection", "", ids[:first])
        sequence = Sequence(request, len(ids), 0, 0)
        while not self._cache.admit(sequence, len(ids), spare=self._running()):
            yield
        try:
            found: list[TokenOdds] = []
            for index in range(first, len(ids)):
                if found:
                    yield
                row = yield from self._next_logits(sequence)
                context = {"prompt": list(ids[:begin]), "output": list(ids[begin:index])}
                mask = matcher.mask() if matcher and not matcher.is_over else None
                allowed = sampler.masked(row, mask)
                sampled = sampler.distribution(allowed, asked.sampling, **context)
                found.append(odds(row, sampled, ids[index]))
                if matcher and mask is not None:
                    matcher.take(ids[index])
                sequence.tokens.append(ids[index])
            return Inspected(tuple(found))
        finally:
            self._cache.release(sequence, spoilt=True)

    def _matcher(self, asked: Inspection) -> Generator[None, None, Matcher | None]:
        """Where the answer had got to in its grammar, once that is compiled."""
        constraint = asked.sampling.constraint
        if self._grammars is None or constraint is None:
            return None
        while not self._grammars.compiled(constraint).done():
            yield
        return self._grammars.matcher(constraint, asked.ids[asked.answer_start : asked.first])

    def _next_logits(self, sequence: Sequence) -> Generator[None, None, Array]:
        while True:
            chunk = Chunk(sequence, min(sequence.pending, self._scorer.piece))
            completes = chunk.completes
            rows = self._runner.run((chunk,))
            sequence.computed += chunk.length
            if completes:
                row: Array = rows[0]
                return row
            yield

    def _trace(self, asked: TraceRequest) -> _Work:
        yield  # not in the step that took the question
        config, ids = self._runner.config, list(asked.ids)
        seen = self._runner.trace(ids, asked.layer, asked.head)
        logits = seen.logits.numpy()
        seed = asked.sampling.seed
        assert seed is not None
        order = np.argsort(-logits, kind="stable")[:ALTERNATIVES]
        return Trace(
            sizes={
                "layers": config.layers,
                "heads": config.heads,
                "kv_heads": config.kv_heads,
                "head_dim": config.head_dim,
                "hidden": config.hidden_size,
                "inner": config.intermediate_size,
                "vocabulary": config.vocab_size,
            },
            embedding=_strip(seen.embedding.numpy()),
            layer=_layer(seen),
            residual=tuple(seen.residual),
            logits=tuple((int(id), float(logits[id])) for id in order),
            stages=tuple(stages(logits, asked.sampling, ids, order)),
            uniform=sampler.uniform(seed, len(ids)),
            token=sampler.sample(logits, asked.sampling, prompt=ids, output=[], seed=seed),
        )


def odds(logits: Array, sampled: Array, token: int) -> TokenOdds:
    """logits fp32[V], sampled fp64[V]: the distribution that the token was drawn from."""
    raw = _softmax(logits)
    seen = raw[raw > 0]
    order = np.argsort(-logits, kind="stable")[:ALTERNATIVES]
    return TokenOdds(
        token=Alternative(token, float(raw[token]), float(sampled[token])),
        rank=1 + int((logits > logits[token]).sum()),
        entropy=float(-(seen * np.log2(seen)).sum()),
        alternatives=tuple(_alternatives(order, raw, sampled)),
    )


def stages(
    logits: Array, params: SamplingParams, prompt: list[int], order: Array
) -> Iterator[Stage]:
    """What is left after each stage of the sampler, of the tokens `order`."""
    raw, left = _softmax(logits), SamplingParams()
    penalty = params.repetition_penalty
    for name in ("repetition_penalty", "temperature", "top_k", "top_p", "min_p"):
        value = getattr(params, name)
        left = replace(left, **{name: value})
        if name == "repetition_penalty" and penalty == 1:
            continue
        found = sampler.distribution(logits, left, prompt=prompt, output=[])
        tokens = tuple(_alternatives(order, raw, found))
        yield Stage(name, float(value), int((found > 0).sum()), tokens)


def _alternatives(order: Array, raw: Array, sampled: Array) -> Iterator[Alternative]:
    for id in order:
        yield Alternative(int(id), float(raw[id]), float(sampled[id]))


def _softmax(logits: Array) -> Array:
    weights: Array = np.exp(logits.astype(np.float64) - logits.max())
    result: Array = weights / weights.sum()
    return result


def _layer(seen: TracedPass) -> LayerTrace:
    layer = seen.layer
    query, rotated = layer.query[-1], layer.rotated[-1]
    other = len(query) // 2
    return LayerTrace(
        before=_strip(layer.before.numpy()),
        scale=layer.scale,
        normed=_strip(layer.normed.numpy()),
        query=_strip(query.numpy()),
        key=_strip(layer.key[-1].numpy()),
        value=_strip(layer.value[-1].numpy()),
        rotation=Rotation(
            (0, other),
            (float(query[0]), float(query[other])),
            (float(rotated[0]), float(rotated[other])),
            tuple(map(float, seen.angles)),
        ),
        attention=tuple(
            tuple(map(float, row[: index + 1])) for index, row in enumerate(layer.attention)
        ),
        gated=_strip(layer.gated.numpy()),
        active=float((layer.gated > 0).float().mean()),
        after=_strip(layer.after.numpy()),
    )


def _strip(values: Array) -> Numbers:
    return tuple(map(float, values[:STRIP]))
