"""Blocks of the KV cache on disk: a file for each session and model, all of them under a budget.

A file is safetensors: a tensor for each block under the block's name, in the order of the text,
then a checksum of each. Where there are keys it is sealed as a whole. It holds neither text nor
tokens, and only its owner may read it. It is written beside its place and renamed. A file's time is
when its session was last used: where room is needed, the oldest goes first.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import numpy as np
import structlog

from inference.kv_writing import UNFINISHED, Array, Writing, name_of
from inference.options import EngineOptions
from inference.safetensors_file import (
    DamagedFileError,
    TensorLayout,
    encoded_header,
    header_of,
    size_of,
)
from inference.sealed_file import Keys

log = structlog.get_logger(__name__)

_SUFFIX = ".safetensors"
_MODEL = "[0-9a-f]" * 16  # a folder of ours
_CHECKSUMS, _FINGERPRINT = "checksums", "fingerprint"
_NAME_BYTES = 256  # what a block takes in a file beside its numbers, at most


def saved_sessions(folder: Path) -> set[str]:
    """The sessions of which there are files."""
    return {path.stem for path in folder.glob(f"{_MODEL}/*{_SUFFIX}")}


def kv_files(options: EngineOptions) -> KVFiles | None:
    """As the options say. Where the budget is 0, what earlier ones allowed is removed."""
    if options.kv_folder is None:
        return None
    return KVFiles(options.kv_folder, options.kv_disk_mb << 20, Keys(options.kv_keys))


class KVFiles:
    """All files of a folder, `budget` bytes of them at most at any moment; more than that, what
    an earlier process did not finish, and where there are keys what none of them opens, is removed
    at once. One thread writes, another one reads."""

    def __init__(self, folder: Path, budget: int, keys: Keys | None = None) -> None:
        """keys: that files are sealed with."""
        self.folder, self.budget, self.keys = folder, budget, keys or Keys()
        self.writes = ThreadPoolExecutor(1, "kv-write")
        self.reads = ThreadPoolExecutor(1, "kv-read")
        with suppress(OSError):
            for path in folder.glob(f"{_MODEL}/*{UNFINISHED}"):
                path.unlink(missing_ok=True)
            if self.keys:
                self._remove_others()
            self.make_room(0, math.inf)

    def of_model(self, fingerprint: dict[str, str], block: TensorLayout) -> ModelFiles:
        """fingerprint: all that must be the same for a block to be of use."""
        return ModelFiles(self, fingerprint, block)

    def forget(self, sessions: Iterable[str]) -> Future[None]:
        """Done when their files are gone."""
        names = [f"{session}{_SUFFIX}" for session in sessions]
        return self.writes.submit(self._remove, names)

    def close(self) -> None:
        """Returns when all has been written and read."""
        self.writes.shutdown()
        self.reads.shutdown()

    def make_room(self, size: int, used: float) -> bool:
        """For a file of a session that was last used then. False: there is not enough in what was
        used less lately, and nothing has changed."""
        found = sorted(_times_and_sizes(self.folder))
        surplus = sum(bytes_ for _, bytes_, _ in found) + size - self.budget
        goes = []
        for time, bytes_, path in found:
            if surplus <= 0 or time > used:
                break
            surplus -= bytes_
            goes.append(path)
        if surplus > 0:
            return False
        for path in goes:
            path.unlink(missing_ok=True)
            log.info("kv.evicted", session=path.stem)
        return True

    def _remove_others(self) -> None:
        for path in self.folder.glob(f"{_MODEL}/*{_SUFFIX}"):
            if not self.keys.can_open(path):
                path.unlink(missing_ok=True)
                log.info("kv.not_encrypted", session=path.stem)

    def _remove(self, names: list[str]) -> None:
        for model in self.folder.glob(_MODEL):
            for name in names:
                with suppress(FileNotFoundError):
                    (model / name).unlink()


class ModelFiles:
    """Those of one model as it is computed here."""

    def __init__(self, files: KVFiles, fingerprint: dict[str, str], block: TensorLayout) -> None:
        self._files, self._block = files, block
        self._fingerprint = json.dumps(fingerprint | {"block": str(block)}, sort_keys=True)
        digest = blake2b(self._fingerprint.encode(), digest_size=8).hexdigest()
        self._folder = files.folder / digest

    @property
    def block_bytes(self) -> int:
        return self._block.nbytes

    @property
    def most_blocks(self) -> int:
        """Of one file."""
        room = self._files.keys.room(self._files.budget) - len(self._header([])) - _NAME_BYTES
        return max(0, room // (self.block_bytes + _NAME_BYTES))

    def exists(self, session: str) -> bool:
        return self._path(session).exists()

    def open(self, session: str) -> Future[SavedText | None]:
        """None where there is none that is of use; one that never will be is removed."""
        return self._files.reads.submit(self._open, self._path(session))

    def write(self, session: str, names: list[bytes], used: float) -> Writing:
        """Begin a file of these blocks. used: when the session was, in seconds since 1970."""
        header = self._header(names)
        files = self._files
        size = files.keys.stored_size(len(header) + len(names) * (self.block_bytes + 8))
        writing = Writing(files.writes, self._path(session), used, files.keys)
        writing.begin(header, size, lambda: files.make_room(size, used))
        return writing

    def _path(self, session: str) -> Path:
        return self._folder / f"{session}{_SUFFIX}"

    def _header(self, names: list[bytes]) -> bytes:
        layouts = {name.hex(): self._block for name in names}
        layouts[_CHECKSUMS] = TensorLayout("I64", (len(names),))
        return encoded_header(layouts, {_FINGERPRINT: self._fingerprint})

    def _open(self, path: Path) -> SavedText | None:
        try:
            file = self._files.keys.open(path, name_of(path))
        except OSError:
            return None
        except DamagedFileError as error:
            _remove_damaged(path, error)
            return None
        try:
            saved = SavedText(self._files.reads, file, path, self._names(file, path))
            os.utime(path)
            return saved
        except (DamagedFileError, OSError) as error:
            file.close()
            _remove_damaged(path, error)
            return None

    def _names(self, file: BinaryIO, path: Path) -> list[bytes]:
        """Raises DamagedFileError."""
        header = header_of(file, path.name)
        if header.metadata.get(_FINGERPRINT) != self._fingerprint:
            raise DamagedFileError(f"{path.name} is of another model, or was computed otherwise")
        try:
            names = [bytes.fromhex(name) for name in header.tensors if name != _CHECKSUMS]
        except ValueError as error:
            raise DamagedFileError(f"{path.name} has tensors without a block's name") from error
        expected = self._header(names)
        file.seek(0)
        if file.read(len(expected)) != expected:
            raise DamagedFileError(f"{path.name} has tensors of other sizes")
        return names


class SavedText:
    """A file that was found whole. names: of its blocks."""

    def __init__(
        self, reads: ThreadPoolExecutor, file: BinaryIO, path: Path, names: list[bytes]
    ) -> None:
        """The file stands where its data begins. Raises DamagedFileError, OSError."""
        self.names = names
        self._reads, self._file, self._path, self._begin = reads, file, path, file.tell()
        size = size_of(file) - self._begin - 8 * len(names)
        self._block_bytes = size // len(names) if names else 0
        file.seek(self._begin + size)
        self._checksums = np.frombuffer(file.read(), "<i8")

    def read(self, first: int, count: int) -> Future[Array | None]:
        """uint8[count, bytes of a block]. None: it is damaged, and was removed."""
        return self._reads.submit(self._read, first, count)

    def close(self) -> None:
        """Behind what is being read."""
        try:
            self._reads.submit(self._file.close)
        except RuntimeError:  # the thread has ended
            self._file.close()

    def _read(self, first: int, count: int) -> Array | None:
        data = np.empty((count, self._block_bytes), np.uint8)
        try:
            self._file.seek(self._begin + first * self._block_bytes)
            if self._file.readinto(data.data) != data.nbytes:  # type: ignore[attr-defined]
                raise DamagedFileError(f"{self._path.name} has become shorter")
            for index, block in enumerate(data, start=first):
                if crc32(block.data) != self._checksums[index]:
                    raise DamagedFileError(f"{self._path.name} has changed at block {index}")
        except (DamagedFileError, OSError) as error:
            _remove_damaged(self._path, error)
            return None
        return data


def _times_and_sizes(folder: Path) -> Iterator[tuple[float, int, Path]]:
    for path in folder.glob(f"{_MODEL}/*"):
        with suppress(FileNotFoundError):  # the other thread has removed it
            stat = path.stat()
            yield stat.st_mtime, stat.st_size, path


def _remove_damaged(path: Path, error: Exception) -> None:
    log.warning("kv.file_removed", session=path.stem, reason=str(error))
    with suppress(OSError):
        path.unlink(missing_ok=True)
