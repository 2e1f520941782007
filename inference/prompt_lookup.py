"""Guesses what comes next from the text so far (prompt lookup decoding, Saxena, 2023).

Where the last few tokens stood before, what followed them there may follow again: in code that is
edited, a text that is quoted, a list. The place that was right before is followed on; else it is
the latest one with the same last tokens. The more tokens agree, the likelier the guess; how likely
is learned from every token of the answer, whether it was guessed then or not.
"""

from __future__ import annotations

from dataclasses import dataclass

# Tokens that are looked up together, the most first.
_SIZES = (3, 2, 1)
# Right guesses per guess, before anything is known, by how many tokens agree: 1, 2, … 8 and more.
_FIRST_CHANCES = (0.1, 0.25, 0.45, 0.6, 0.7, 0.75, 0.8, 0.85)
_LONGEST = len(_FIRST_CHANCES)
# Weight of the newest guess in what is learned.
_LEARNING = 1 / 16


@dataclass(frozen=True, slots=True)
class DraftCost:
    """What it takes to check a draft, in times of a decode of one token, about: one more row in a
    step, and that it is not an ordinary step."""

    row: float
    step: float


class PromptLookup:
    """Of one sequence. Each token is looked at once: microseconds, however long the text is."""

    def __init__(self, tokens: list[int], begin: int) -> None:
        """tokens: prompt and answer, a list that grows; what stands before `begin` is only looked
        up, nothing is learned from it."""
        self._tokens, self._begin = tokens, begin
        self._chances = list(_FIRST_CHANCES)
        self._places: dict[tuple[int, ...], int] = {}
        self._seen = 0
        self._source = 0  # where the next token may stand, 0: nowhere
        self._agree = 0  # how many tokens before it are the last ones of the text

    def draft(self, most: int, readers: int, cost: DraftCost) -> tuple[int, ...]:
        """Up to `most` tokens that are worth guessing in a step that gives `readers` tokens anyway:
        each, and all together, must be likely to give more than they cost."""
        self._look()
        length = self._worth(most, readers, cost) if self._source else 0
        text = self._tokens[self._source : self._source + length]
        while len(text) < length:  # the guess goes on into itself
            text.append(text[len(text) - (len(self._tokens) - self._source)])
        return tuple(text)

    def _worth(self, most: int, readers: int, cost: DraftCost) -> int:
        """As long as the next guess is likelier than what it costs, the tokens of a step over its
        time grow; in the end they must be more than without a draft."""
        plain = 1 + cost.row * (readers - 1)
        tokens, time = float(readers), plain + cost.step
        length, right = 0, self._chance(0)
        while length < most and right * time > cost.row * tokens:
            tokens, time, length = tokens + right, time + cost.row, length + 1
            right *= self._chance(length)
        return length if tokens * plain > readers * time else 0

    def _chance(self, further: int) -> float:
        return self._chances[min(self._agree + further, _LONGEST) - 1]

    def _look(self) -> None:
        """At the tokens that are new."""
        tokens = self._tokens
        for end in range(self._seen + 1, len(tokens) + 1):
            follows = self._source > 0 and tokens[self._source] == tokens[end - 1]
            if self._source and end > self._begin:
                self._learn(follows)
            self._source, self._agree = (self._source + 1, self._agree + 1) if follows else (0, 0)
            for size in _SIZES:
                if size <= end:
                    self._put(tuple(tokens[end - size : end]), end)
        self._seen = len(tokens)

    def _put(self, last: tuple[int, ...], end: int) -> None:
        """These are the last tokens now; where they stood before, a guess may begin."""
        if len(last) > self._agree and last in self._places:
            self._source, self._agree = self._places[last], len(last)
        self._places[last] = end

    def _learn(self, right: bool) -> None:
        i = min(self._agree, _LONGEST) - 1
        self._chances[i] += _LEARNING * (right - self._chances[i])
