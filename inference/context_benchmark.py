"""What a model makes of a long context: how well it foretells the text, whether it finds what it
has read, and what reading costs; within its own limit, and beyond it with YaRN.

The text is Python's language reference as every Python carries it (`pydoc_data.topics`), and stands
in the turn of a user, as `inference/needles.py` asks about it.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from inference.config import ModelConfig
from inference.errors import InvalidParameter
from inference.kv_cache import BLOCK_SIZE
from inference.machine import machine
from inference.needles import Needle, asked, hidden, needles
from inference.offline import OfflineModel
from inference.options import EngineOptions
from inference.scoring import log_probabilities
from inference.types import Finished, ModelKind, SamplingParams

LENGTHS = (2048, 4096, 8192, 16384)
TEXTS = 4
# Tokens of the text's end that its perplexity is measured on.
SCORED = 512
_ANSWER = SamplingParams(temperature=0, max_tokens=24)


@dataclass(frozen=True, slots=True)
class Trial:
    """One question about a text. found: the greedy answer has the right number. rank: how many of
    the other numbers in the text were more probable than the right one. gain: nats that its
    log-probability has from having read it."""

    depth: float
    found: bool
    rank: int
    gain: float


@dataclass(frozen=True, slots=True)
class Row:
    """Prompts of `length` tokens, the answer counted in, read by a model whose limit is `context`;
    yarn: how far its positions are stretched for that, 1 not at all.

    perplexity: of the last 512 tokens of the first text, the same tokens at every length. found
    and first_choice: trials whose answer had the right number, and where it was more probable than
    the other four in the text; found_at: the first, by depth. gain: mean, nats. The rate and the
    time to the first token are medians of the texts' first readings."""

    length: int
    context: int
    yarn: float
    perplexity: float
    trials: int
    found: int
    found_at: dict[str, int]
    first_choice: int
    gain: float
    prefill_tokens_per_s: float
    first_token_s: float


def reports(
    directory: Path, lengths: Sequence[int], texts: int, options: EngineOptions, *, yarn: bool
) -> Iterator[dict[str, Any]]:
    """The report, ready for JSON, after each row. Lengths up to the model's own limit are read as
    it is; that limit once more, and all beyond it, with positions stretched to the longest, which
    are refused without `yarn`. `options.device` is cpu or cuda. Raises EngineError."""
    if texts < 1:
        raise InvalidParameter("texts", texts, "at least 1")
    report: dict[str, Any] = {
        "machine": machine(options.device),
        "model": directory.name,
        "device": options.device,
        "threads": options.threads,
        "text": {"name": "pydoc_data.topics", "sha256": _digest(), "readings": texts},
        "rows": [],
    }
    for context, its in _readings(directory, sorted(set(lengths)), yarn=yarn):
        room = max(its) + 4 * BLOCK_SIZE
        stretched = replace(options, context_tokens=context, kv_tokens=room, reuse=True)
        haystack = Haystack(OfflineModel(directory, ModelKind.CHAT, stretched), texts)
        for length in its:
            report["rows"].append(asdict(haystack.row(length)))
            yield report


def _readings(
    directory: Path, lengths: Sequence[int], *, yarn: bool
) -> list[tuple[int, list[int]]]:
    """Limits to load the model with (0: its own), and the lengths to read so."""
    own = ModelConfig.load(directory).context_length
    plain = [length for length in lengths if length <= own]
    readings = [(0, plain)] if plain else []
    if lengths[-1] > own and not yarn:
        raise InvalidParameter("lengths", lengths[-1], f"at most {own} without YaRN")
    if lengths[-1] > own:
        ModelConfig.load(directory, lengths[-1])  # refused before anything is measured
        readings.append((lengths[-1], [own, *lengths[len(plain) :]]))
    return readings


def _text() -> str:
    return "\n\n".join(topics[name].strip() for name in sorted(topics))


def _digest() -> str:
    return hashlib.sha256(_text().encode()).hexdigest()


class Haystack:
    """A model and the texts that it is asked about, each from another part of the reference."""

    def __init__(self, model: OfflineModel, texts: int) -> None:
        self._model, self._codec, self._texts = model, model.codec, texts
        self._ids = self._codec.encode(_text())

    def row(self, length: int) -> Row:
        """Raises InvalidParameter where the reference is too short for such texts, or `length`
        for a text."""
        stories = [self._story(turn, length) for turn in range(self._texts)]
        perplexity = self._perplexity(stories[0])
        facts = [fact for turn in range(self._texts) for fact in needles(turn)]
        unread = {fact: self._number(stories[0], fact, fact.number) for fact in facts}
        trials: list[Trial] = []
        first: list[Finished] = []
        for turn, story in enumerate(stories):
            found, finished = self._trials(hidden(story, needles(turn)), needles(turn), unread)
            trials += found
            first.append(finished)
        rope, context = self._model.runner.config.rope, self._codec.context_length
        stretched = bool(self._model.options.context_tokens)
        return Row(
            length=length,
            context=context,
            yarn=rope.scaling["factor"] if stretched else 1.0,
            perplexity=perplexity,
            trials=len(trials),
            found=sum(trial.found for trial in trials),
            found_at=_by_depth(trials),
            first_choice=sum(trial.rank == 0 for trial in trials),
            gain=statistics.mean(trial.gain for trial in trials),
            prefill_tokens_per_s=statistics.median(map(_rate, first)),
            first_token_s=statistics.median(its.timings.prefill_s for its in first),
        )

    def _story(self, turn: int, length: int) -> str:
        """A text so long that, with its facts and the longest question, it fills a prompt."""
        facts, answer = needles(turn), _ANSWER.max_tokens or 0
        end, size = (turn + 1) * len(self._ids) // self._texts, length - answer
        while size > SCORED:
            if size > len(self._ids) // self._texts:
                most = f"at most {len(self._ids) // self._texts} for {self._texts} texts"
                raise InvalidParameter("lengths", length, most)
            text = self._codec.decode(self._ids[end - size : end]).strip()
            mixed = hidden(text, facts)
            greedy = (len(self._prompt(mixed, fact)) + answer for fact in facts)
            over = max(*greedy, *(len(self._answered(mixed, fact)) for fact in facts)) - length
            if over <= 0:
                return text
            size -= over
        raise InvalidParameter("lengths", length, "longer: there is no room for a text")

    def _perplexity(self, story: str) -> float:
        """Of the end of a text that has no facts in it."""
        opening, _, _ = self._rendered(story, needles(0)[0]).partition(story)
        ids = self._codec.encode(opening + story)
        known = log_probabilities(self._model, ids[:-SCORED], ids[-SCORED:])
        return math.exp(-float(known.mean()))

    def _trials(
        self, text: str, facts: Sequence[Needle], unread: dict[Needle, float]
    ) -> tuple[list[Trial], Finished]:
        """One for each fact, and how the first of them was read."""
        answers = [self._model.generate(self._prompt(text, fact), _ANSWER) for fact in facts]
        trials = []
        for fact, answer in zip(facts, answers, strict=True):
            values = {other: self._number(text, fact, other.number) for other in facts}
            trials.append(
                Trial(
                    fact.depth,
                    fact.number in answer.text,
                    sum(value > values[fact] for value in values.values()),
                    values[fact] - unread[fact],
                )
            )
        return trials, answers[0].finished

    def _answered(self, text: str, fact: Needle) -> list[int]:
        return self._codec.encode(f"{self._rendered(text, fact)}{fact.sentence}")

    def _number(self, text: str, fact: Needle, number: str) -> float:
        """The log-probability, in nats, of a number after the words that it would follow."""
        before = self._rendered(text, fact) + fact.opening
        ids, known = self._codec.encode(f"{before} {number}"), self._codec.encode(before)
        return float(log_probabilities(self._model, known, ids[len(known) :]).sum())

    def _prompt(self, text: str, fact: Needle) -> list[int]:
        return self._codec.encode(self._rendered(text, fact))

    def _rendered(self, text: str, fact: Needle) -> str:
        return self._codec.render(asked(text, fact), add_generation_prompt=True)


def _by_depth(trials: Sequence[Trial]) -> dict[str, int]:
    found = dict.fromkeys(sorted({trial.depth for trial in trials}), 0)
    for trial in trials:
        found[trial.depth] += trial.found
    return {f"{depth:.0%}": count for depth, count in found.items()}


def _rate(finished: Finished) -> float:
    return (finished.prompt_tokens - finished.cached_tokens) / finished.timings.prefill_s


def table(report: dict[str, Any]) -> str:
    """As lines of text."""
    head = f"{report['model']} on {report['device']}"
    columns = ("length", "YaRN", "perplexity", "found", "first of 5", "gain", "tokens/s", "TTFT")
    lines = [head, "".join(f"{name:>12}" for name in columns)]
    for row in report["rows"]:
        cells = (
            f"{row['length']}",
            f"{row['yarn']:.3g}",
            f"{row['perplexity']:.2f}",
            f"{row['found']}/{row['trials']}",
            f"{row['first_choice']}/{row['trials']}",
            f"{row['gain']:.1f}",
            f"{row['prefill_tokens_per_s']:.0f}",
            f"{row['first_token_s']:.2f} s",
        )
        lines.append("".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)
