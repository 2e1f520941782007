"""A recorded continuation once more, alone: the same tokens, or the first other one and how near
it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from inference.errors import ContextLengthExceeded
from inference.kv_cache import KVCache
from inference.offline import OfflineModel
from inference.runner import Array, Runner
from inference.scheduler import Chunk
from inference.sequence import Sequence as Tokens
from inference.types import GenerateRequest, SamplingParams

_PIECE = 512
"""Tokens that are read at once: what a step may take is bounded by memory."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of two tokens that came at the same place. logit: as the model gave it, before penalties
    and temperature."""

    id: int
    text: str
    logit: float


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two answers part. position counts from 0 at the beginning of the answer. gap: the
    logit of the replayed token minus that of the recorded one."""

    position: int
    recorded: Choice
    replayed: Choice
    gap: float


class ReplayModel(OfflineModel):
    """Its cache must have room for the prompt and the whole answer."""

    def first_difference(
        self,
        prompt_ids: Sequence[int],
        output_ids: Sequence[int],
        sampling: SamplingParams,
        answer_start: int | None = None,
    ) -> Difference | None:
        """Sample as many tokens as were recorded, whatever would have ended the answer before.
        None: they are the same. Raises EngineError."""
        length, limit = len(prompt_ids) + len(output_ids), self.runner.config.context_length
        if length > limit:
            raise ContextLengthExceeded(length, limit)
        endless = replace(sampling, stop=(), stop_token_ids=(), ignore_eos=True)
        wanted = replace(endless, max_tokens=len(output_ids))
        again = self.generate(prompt_ids, wanted, answer_start=answer_start).token_ids
        # a grammar may end it earlier, which another token before has made possible
        pairs = zip(output_ids, again, strict=False)
        position = next((i for i, (old, new) in enumerate(pairs) if old != new), None)
        if position is None:
            return None
        row = logits_after(self.runner, [*prompt_ids, *again[:position]])
        recorded, replayed = (
            Choice(token, self.codec.decode([token]), float(row[token]))
            for token in (output_ids[position], again[position])
        )
        return Difference(position, recorded, replayed, replayed.logit - recorded.logit)


def logits_after(runner: Runner, tokens: Sequence[int]) -> Array:
    """fp32[V]: the logits of what comes after these tokens. Overwrites what the cache holds, so no
    engine may use the runner any more."""
    sequence = Tokens(GenerateRequest("logits", "", tuple(tokens)), len(tokens) + 1, 0, 0)
    KVCache(runner.blocks).grow(sequence, len(tokens))
    while True:
        chunk = Chunk(sequence, min(sequence.pending, _PIECE))
        rows = runner.run((chunk,))
        if chunk.completes:
            row: Array = rows[0]
            return row
        sequence.computed += chunk.length
