"""An answer on its way through the filters: what may be shown of it, as soon as that is certain.

A match may arrive in two pieces, so what could become part of one waits until more of the answer is
there. Tokens travel with the text that they begin; those of a replaced match begin where its
replacement does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from chat.filtering import filters, matches, replaced
from chat.filtering.kinds import ContentFilter, Match
from inference.types import Delta, EngineEvent, Finished

_BEFORE = 32
"""Characters that were shown already and tell what stands in front of a match."""


class AnswerRefused(Exception):
    """The answer came to what may not be said, and ends in front of it."""


def allowed(events: AsyncIterator[EngineEvent], *, before: str) -> AsyncIterator[EngineEvent]:
    """The events of one generation, its text as it may be shown. before: the beginning of an answer
    that is being continued. Iterating raises AnswerRefused, after all that stood in front of it."""
    chosen = filters()
    return _allowed(events, FilteredStream(chosen, before)) if chosen else events


async def _allowed(
    events: AsyncIterator[EngineEvent], stream: FilteredStream
) -> AsyncGenerator[EngineEvent, None]:
    async for event in events:
        if isinstance(event, Delta):
            yield stream.take(event)
        elif isinstance(event, Finished):
            yield stream.rest()
        if stream.has_ended:
            raise AnswerRefused
        if not isinstance(event, Delta):
            yield event


class FilteredStream:
    """The deltas of one generation, one after another. has_ended: a match without replacement has
    been met; nothing may follow."""

    def __init__(self, chosen: Sequence[ContentFilter], before: str) -> None:
        """before: the beginning of an answer that is being continued."""
        self._filters = chosen
        self._before = before[-_BEFORE:]
        self._waiting = ""
        self._tokens: list[tuple[int, int]] = []
        self._read = self._shown = 0
        self.has_ended = False

    def take(self, delta: Delta) -> Delta:
        """What may be shown now."""
        self._waiting += delta.text
        self._tokens += zip(delta.token_ids, delta.offsets, strict=True)
        text = self._before + self._waiting
        held = max(each.undecided(text) for each in self._filters)
        return self._release(len(self._waiting) - held)

    def rest(self) -> Delta:
        """What waited for more, when there is no more."""
        return self._release(len(self._waiting))

    def _release(self, end: int) -> Delta:
        """Show the waiting text up to `end`, or up to where a match begins that crosses it."""
        start = len(self._before)
        found = [
            Match(match.start - start, match.end - start, match.replacement)
            for match in matches(self._filters, self._before + self._waiting)
            if match.start >= start
        ]
        end = max(0, min([end, *(match.start for match in found if match.end > end)]))
        refused = next((match.start for match in found if match.replacement is None), end)
        if refused < end:
            self.has_ended, end = True, refused
        return self._show(end, [match for match in found if match.end <= end])

    def _show(self, end: int, found: list[Match]) -> Delta:
        raw, self._waiting = self._waiting[:end], self._waiting[end:]
        text = replaced(raw, found)
        tokens = [(token, offset) for token, offset in self._tokens if offset - self._read < end]
        self._tokens = self._tokens[len(tokens) :]
        offsets = tuple(self._shown + _moved(offset - self._read, found) for _, offset in tokens)
        self._before = (self._before + raw)[-_BEFORE:]
        self._read += len(raw)
        self._shown += len(text)
        return Delta(text, tuple(token for token, _ in tokens), offsets)


def _moved(at: int, found: list[Match]) -> int:
    """Where a place in the text is once the matches are replaced."""
    moved = at
    for match in found:
        if at <= match.start:
            break
        shift = len(match.replacement or "") - (match.end - match.start)
        moved = moved + shift if at >= match.end else moved - (at - match.start)
    return moved
