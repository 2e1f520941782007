"""Files over HTTP that survive a bad line: resumed, retried, and checked against a digest."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Literal, Protocol

from inference.http_client import (
    REDIRECTS,
    ChecksumError,
    HubSettings,
    SourceError,
    TransientError,
    UnreachableError,
    file_name,
    patiently,
    raise_for_status,
    send_request,
)

_CHUNK_BYTES = 1 << 18


class Progress(Protocol):
    """What a pull tells whoever watches. `terminal`: a child process may draw on the terminal."""

    @property
    def terminal(self) -> bool: ...
    def begin(self, label: str, total: int | None) -> None: ...
    def at(self, done: int) -> None:
        """Bytes that are here now; falls when a download starts over."""

    def end(self) -> None: ...
    def note(self, message: str) -> None: ...


class Silent:
    """Nobody watches."""

    terminal = False

    def begin(self, label: str, total: int | None) -> None: ...
    def at(self, done: int) -> None: ...
    def end(self) -> None: ...
    def note(self, message: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Checksum:
    """A digest of a file's content; git's is over a short header and the content."""

    kind: Literal["sha256", "git"]
    value: str

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"

    def matches(self, path: Path) -> bool:
        return file_digest(path, self.kind) == self.value


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What the server says about a file before it is fetched."""

    url: str
    size: int | None
    checksum: Checksum | None
    commit: str | None


def file_digest(path: Path, kind: Literal["sha256", "git"] = "sha256") -> str:
    """The hex digest of a file, read in pieces."""
    if kind == "sha256":
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def probe(
    url: str, settings: HubSettings, *, sha256: str | None = None, first: bool = False
) -> RemoteFile:
    """Ask for a file's size and digest. A pinned `sha256` goes before the server's.

    With `first`, a server that cannot be reached is given up at once. Raises SourceError;
    ChecksumError when the server itself announces another digest than the pinned one.
    """

    def ask() -> RemoteFile:
        timeout = settings.first_timeout_s if first else settings.timeout_s
        with send_request("HEAD", url, settings, timeout=timeout, stop_at_digest=True) as response:
            raise_for_status(response, url)
            return _described(url, response)

    def ask_first() -> RemoteFile:
        try:
            return ask()
        except UnreachableError as error:
            raise SourceError(str(error)) from error

    remote = patiently(ask_first if first else ask, settings)
    if sha256 is None:
        return remote
    pinned = Checksum("sha256", sha256)
    announced = remote.checksum
    if announced is not None and announced.kind == "sha256" and announced != pinned:
        raise ChecksumError(
            f"{file_name(url)} on the server has sha256 {announced.value}, "
            f"where {sha256} is expected"
        )
    return RemoteFile(url, remote.size, pinned, remote.commit)


def download(remote: RemoteFile, folder: Path, settings: HubSettings, progress: Progress) -> Path:
    """Fetch a file into `folder`, continuing what an earlier run left there, and check it.

    The file's name there carries its digest, so that a piece of another version is never
    continued. Raises SourceError (ChecksumError: the file has been removed), or OSError when the
    disk refuses.
    """
    name = file_name(remote.url)
    version = remote.checksum.value[:16] if remote.checksum else "unchecked"
    part = folder / f"{name}.{version}.part"
    if remote.checksum is None:
        part.unlink(missing_ok=True)
    progress.begin(name, remote.size)
    try:
        # What an earlier run left may itself be damaged: then the file is fetched once from zero.
        for _ in ("continued", "from zero") if part.exists() else ("from zero",):
            _transfer(remote, part, settings, progress)
            if remote.checksum is None or remote.checksum.matches(part):
                return part
            part.unlink()
    finally:
        progress.end()
    raise ChecksumError(f"{name} arrived damaged ({remote.checksum} was expected); it was removed")


def _transfer(remote: RemoteFile, part: Path, settings: HubSettings, progress: Progress) -> None:
    """Bring `part` to the file's full length, whatever is in it already."""
    part.touch()
    best = part.stat().st_size

    def receive() -> None:
        _receive(remote, part, settings, progress)

    def got_further() -> bool:
        nonlocal best
        before, best = best, max(best, part.stat().st_size)
        return best > before

    patiently(receive, settings, got_further=got_further)


def _receive(remote: RemoteFile, part: Path, settings: HubSettings, progress: Progress) -> None:
    have = part.stat().st_size
    if remote.size is not None and have > remote.size:
        have = 0
    if have and have == remote.size:
        progress.at(have)
        return
    with send_request(
        "GET", remote.url, settings, timeout=settings.timeout_s, begin=have
    ) as response:
        if response.status == 416:
            part.unlink()
            part.touch()
            raise TransientError("the server has no such range")
        raise_for_status(response, remote.url)
        if response.status != 206 or not _range_begins_at(response, have):
            have = 0
        length = response.headers.get("Content-Length")
        total = remote.size if remote.size is not None else have + int(length) if length else None
        with part.open("r+b") as file:
            file.truncate(have)
            file.seek(have)
            progress.at(have)
            while chunk := _read(response):
                file.write(chunk)
                have += len(chunk)
                progress.at(have)
    if total is not None and have < total:
        raise TransientError(f"the connection broke at byte {have:,} of {total:,}")
    if total is not None and have > total:
        raise SourceError(f"{file_name(remote.url)} is longer than the {total:,} bytes announced")


def _read(response: HTTPResponse) -> bytes:
    # The disk's errors are OSErrors too, and must not look like the network's.
    try:
        return response.read(_CHUNK_BYTES)
    except (OSError, HTTPException) as error:
        raise TransientError(f"the connection broke: {error!r}") from error


def _described(url: str, response: HTTPResponse) -> RemoteFile:
    headers = response.headers
    size = headers.get("X-Linked-Size") or headers.get("Content-Length")
    if response.status in REDIRECTS:
        size = headers.get("X-Linked-Size")
    etag = headers.get("X-Linked-Etag") or headers.get("ETag") or ""
    return RemoteFile(
        url, int(size) if size else None, _checksum(etag), headers.get("X-Repo-Commit")
    )


def _checksum(etag: str) -> Checksum | None:
    """The hub's entity tags are sha256 for large files and git's blob digest for small ones."""
    value = etag.removeprefix("W/").strip('"')
    if re.fullmatch(r"[0-9a-f]{64}", value):
        return Checksum("sha256", value)
    if re.fullmatch(r"[0-9a-f]{40}", value):
        return Checksum("git", value)
    return None


def _range_begins_at(response: HTTPResponse, offset: int) -> bool:
    return (response.headers.get("Content-Range") or "").startswith(f"bytes {offset}-")
