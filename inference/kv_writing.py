"""A file of blocks on its way to the disk: written beside its place and renamed at the end, so that
nobody ever finds half of one."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO
from zlib import crc32

import numpy as np
import structlog

from inference.sealed_file import Keys

log = structlog.get_logger(__name__)

Array = np.ndarray[Any, np.dtype[Any]]

UNFINISHED = ".part"
_numbers = itertools.count()


def name_of(path: Path) -> str:
    """What a sealed file is bound to: its model and its session."""
    return f"{path.parent.name}/{path.stem}"


class Writing:
    """A file that is being written, piece by piece and in order, on the writing thread."""

    def __init__(self, thread: ThreadPoolExecutor, path: Path, used: float, keys: Keys) -> None:
        """used: when the file's session was, in seconds since 1970. keys: that it is sealed with,
        where there are any."""
        self._thread, self._path, self._used, self._keys = thread, path, used, keys
        number = f"{os.getpid()}-{next(_numbers)}"
        self._part = path.with_name(f"{path.stem}-{number}{UNFINISHED}")
        self._file: BinaryIO | None = None
        self._checksums: list[int] = []
        self._over, self._ending = False, Lock()
        self._last: Future[None]
        self.is_saved = False

    @property
    def is_over(self) -> bool:
        """Finished, aborted, or failed."""
        return self._over

    @property
    def is_ready(self) -> bool:
        """For the next piece: the last one is on its way to the disk."""
        return self._last.done()

    def begin(self, header: bytes, size: int, make_room: Callable[[], bool]) -> None:
        """size: of the whole file on the disk. make_room: whether there is room for it."""
        self._then(lambda: self._begin(header, size, make_room))

    def append(self, blocks: Array) -> None:
        self._then(lambda: self._append(blocks))

    def finish(self) -> None:
        self._then(self._finish)

    def abort(self) -> None:
        """When this returns, the file will not come into its place any more."""
        with self._ending:
            self._over = True
        self._thread.submit(self._clean)

    def wait(self) -> None:
        """Until it is ready."""
        self._last.result()

    def _then(self, step: Callable[[], None]) -> None:
        self._last = self._thread.submit(self._run, step)

    def _run(self, step: Callable[[], None]) -> None:
        if self._over:
            return
        try:
            step()
        except Exception as error:
            log.warning("kv.not_saved", session=self._path.stem, reason=repr(error))
            self._over = True
            self._clean()

    def _begin(self, header: bytes, size: int, make_room: Callable[[], bool]) -> None:
        if not make_room():
            log.info("kv.no_room", session=self._path.stem)
            self._over = True
            return
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = self._keys.create(self._part, name_of(self._path))
        self._file.truncate(size)  # so that it counts as a whole from now on
        self._file.write(header)

    def _append(self, blocks: Array) -> None:
        assert self._file is not None
        self._checksums += [crc32(block.data) for block in blocks]
        self._file.write(blocks.data)

    def _finish(self) -> None:
        assert self._file is not None
        self._file.write(np.array(self._checksums, "<i8").data)
        self._file.close()
        os.utime(self._part, (self._used, self._used))
        with self._ending:
            if not self._over:
                self._part.rename(self._path)
                self._over = self.is_saved = True

    def _clean(self) -> None:
        with suppress(OSError):
            if self._file is not None:
                self._file.close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)
