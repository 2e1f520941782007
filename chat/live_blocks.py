"""The blocks of an answer while it is written: rendered when somebody reads, once for all readers,
and no oftener than there is time for.

Rendering is most of what a frame costs. So text goes out at the readers' pace, and blocks when they
are due: all answers together get a share of the event loop's time, and each an equal part of it.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

from chat.rendering import StreamRenderer

SHARE = 0.05
"""Of the event loop's time, for all answers that are being read."""
LONGEST_REST_S, LONGEST_WAIT_S = 0.25, 5.0
"""After one rendering for all answers, and for its own. One may take long for once: the first lines
of code have a library read, and the machine may have other work."""


class LiveBlocks:
    """Blocks, each with the number of the event at which it last changed."""

    _in_use: ClassVar[int] = 0
    _free_at: ClassVar[float] = 0.0

    def __init__(self, content: str, seq: int) -> None:
        self._renderer = StreamRenderer()
        self._html: list[str] = []
        self._seqs: list[int] = []
        self._length = len(content)
        self._finished = False
        self._due_at = 0.0
        self._replace(self._renderer.push(content), seq)

    @classmethod
    def reading(cls, more: int) -> None:
        """So many answers more are being read."""
        cls._in_use += more

    @property
    def are_due(self) -> bool:
        return time.monotonic() >= max(self._due_at, LiveBlocks._free_at)

    def changed(self, text: str, seq: int, since: int | None) -> dict[str, Any]:
        """The blocks that changed after number `since` (None: all), `text` being all the text."""
        if len(text) > self._length:
            began = time.monotonic()
            self._replace(self._renderer.push(text[self._length :]), seq)
            self._length = len(text)
            ended = time.monotonic()
            rest = min((ended - began) / SHARE, LONGEST_REST_S)
            # Answers that began together are due together: one at a time, or a beat of the pulse
            # would take as long as all of them.
            LiveBlocks._free_at = ended + rest
            self._due_at = ended + min(rest * max(1, self._in_use), LONGEST_WAIT_S)
        return self._from(since)

    def finished(self, text: str, seq: int, since: int | None) -> dict[str, Any]:
        """As `changed`, with the last block closed: from here on it is `render_blocks` of all."""
        self.changed(text, seq, since)
        if not self._finished:
            self._finished = True
            self._replace(self._renderer.finish(), seq + 1)
        return self._from(since)

    def _replace(self, change: tuple[int, list[str]], seq: int) -> None:
        start, html = change
        self._html[start:] = html
        self._seqs[start:] = [seq] * len(html)

    def _from(self, since: int | None) -> dict[str, Any]:
        fresh = (i for i, seq in enumerate(self._seqs) if since is None or seq > since)
        start = next(fresh, len(self._html))
        return {"from": start, "html": self._html[start:]}
