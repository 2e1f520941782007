"""Reads files through on a thread of its own, so that they are in the machine's memory by the time
they are mapped: the disk is waited for here, while the engine's thread computes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

_PIECE_BYTES = 16 << 20


class FileReading(threading.Thread):
    """done of total bytes have been read. Errors are no news here: whoever maps the files finds
    them."""

    def __init__(self, files: Sequence[Path], tell: Callable[[], object]) -> None:
        """tell: called after each piece and at the end, on this thread. Raises OSError for a file
        that is not there."""
        super().__init__(name="reading", daemon=True)
        self._files, self._tell = files, tell
        self.done, self.total = 0, sum(path.stat().st_size for path in files)
        self.is_over = False

    def run(self) -> None:
        buffer = bytearray(min(_PIECE_BYTES, self.total))
        try:
            for path in self._files:
                with path.open("rb", buffering=0) as file:
                    while count := file.readinto(buffer):
                        self.done += count
                        self._tell()
        except OSError:
            pass
        finally:
            self.is_over = True
            self._tell()
