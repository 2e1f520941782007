"""Files that only who has a key can read or change, written from the beginning to the end and read
at any place. Where there are no keys, plain files.

A sealed file: a mark (8 bytes), the id of the key (4), a salt (16); then pieces of 64 KiB, each
with a tag of 16 bytes, sealed with AES-256-GCM. The file's key is derived by its salt and its name,
so a file is of no use in another one's place; a piece's nonce is its number and whether it is the
last one, so none can be moved, left out or cut off.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from inference.safetensors_file import DamagedFileError

MARK = b"TLKVENC1"
ID_BYTES, SALT_BYTES, TAG_BYTES = 4, 16, 16
HEAD_BYTES = len(MARK) + ID_BYTES + SALT_BYTES
PIECE_BYTES = 1 << 16
KEY_BYTES = 32


class Keys:
    """The first one seals, all of them open. Without any, files are plain."""

    def __init__(self, encoded: Sequence[str] = ()) -> None:
        """encoded: each 32 bytes in base64. Raises ValueError."""
        secrets = [_decoded(each) for each in encoded]
        self._secrets = {_derived(secret, b"", b"id", ID_BYTES): secret for secret in secrets}

    def __bool__(self) -> bool:
        return bool(self._secrets)

    def stored_size(self, size: int) -> int:
        """Bytes on the disk of a file of this length."""
        pieces = max(1, -(-size // PIECE_BYTES))
        return HEAD_BYTES + size + pieces * TAG_BYTES if self else size

    def room(self, stored: int) -> int:
        """The length of a file that takes no more of the disk."""
        if not self:
            return stored
        pieces, rest = divmod(max(0, stored - HEAD_BYTES), PIECE_BYTES + TAG_BYTES)
        return pieces * PIECE_BYTES + max(0, rest - TAG_BYTES)

    def create(self, path: Path, name: str) -> BinaryIO:
        """name: of the file, whatever its path is called meanwhile. Raises OSError."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        file = os.fdopen(descriptor, "wb")
        if not self:
            return file
        id_, secret = next(iter(self._secrets.items()))
        salt = os.urandom(SALT_BYTES)
        file.write(MARK + id_ + salt)
        return cast(BinaryIO, _Sealing(file, _cipher(secret, salt, name)))

    def open(self, path: Path, name: str) -> BinaryIO:
        """Raises DamagedFileError where none of the keys is the file's, OSError."""
        file = path.open("rb")
        if not self:
            return file
        head = file.read(HEAD_BYTES)
        secret = self._secrets.get(_id(head))
        if secret is None or len(head) < HEAD_BYTES:
            file.close()
            raise DamagedFileError(f"{path.name} is not encrypted with any of the keys")
        sealed = _Sealed(file, _cipher(secret, head[-SALT_BYTES:], name), path.name)
        return cast(BinaryIO, io.BufferedReader(sealed, PIECE_BYTES))

    def can_open(self, path: Path) -> bool:
        """Whether a file is sealed with one of them, as far as it says. Raises OSError."""
        with path.open("rb") as file:
            return _id(file.read(HEAD_BYTES)) in self._secrets


class _Sealing:
    """A sealed file that is being written."""

    def __init__(self, file: BinaryIO, cipher: AESGCM) -> None:
        self._file, self._cipher = file, cipher
        self._pieces, self._waiting = 0, bytearray()

    def truncate(self, size: int) -> int:
        """size: on the disk."""
        return self._file.truncate(size)

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._waiting += view
        while len(self._waiting) > PIECE_BYTES:  # which one is the last shows when it is closed
            self._seal(is_last=False)
        return view.nbytes

    def close(self) -> None:
        if not self._file.closed:
            self._seal(is_last=True)
            self._file.close()

    def _seal(self, *, is_last: bool) -> None:
        piece = bytes(self._waiting[:PIECE_BYTES])
        del self._waiting[:PIECE_BYTES]
        self._file.write(self._cipher.encrypt(_nonce(self._pieces, is_last), piece, None))
        self._pieces += 1


class _Sealed(io.RawIOBase):
    """A sealed file, read at any place. Raises DamagedFileError where it was changed."""

    def __init__(self, file: BinaryIO, cipher: AESGCM, name: str) -> None:
        super().__init__()
        self._file, self._cipher, self._name = file, cipher, name
        body = max(0, os.fstat(file.fileno()).st_size - HEAD_BYTES)
        self._pieces = -(-body // (PIECE_BYTES + TAG_BYTES))
        self._size, self._at = body - self._pieces * TAG_BYTES, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, begin + offset)
        return self._at

    def readinto(self, into: Any) -> int:
        view = memoryview(into).cast("B")
        done = 0
        while done < len(view) and self._at < self._size:
            number, begin = divmod(self._at, PIECE_BYTES)
            some = self._piece(number)[begin : begin + len(view) - done]
            view[done : done + len(some)] = some
            done += len(some)
            self._at += len(some)
        return done

    def close(self) -> None:
        self._file.close()
        super().close()

    def _piece(self, number: int) -> bytes:
        self._file.seek(HEAD_BYTES + number * (PIECE_BYTES + TAG_BYTES))
        sealed = self._file.read(PIECE_BYTES + TAG_BYTES)
        nonce = _nonce(number, is_last=number == self._pieces - 1)
        try:
            return self._cipher.decrypt(nonce, sealed, None)
        except (InvalidTag, ValueError):
            raise DamagedFileError(f"{self._name} was changed after it was encrypted") from None


def _id(head: bytes) -> bytes:
    return head[len(MARK) :][:ID_BYTES] if head.startswith(MARK) else b""


def _nonce(number: int, is_last: bool) -> bytes:
    return number.to_bytes(11) + bytes([is_last])


def _cipher(secret: bytes, salt: bytes, name: str) -> AESGCM:
    return AESGCM(_derived(secret, salt, f"tinyllm file {name}".encode(), KEY_BYTES))


def _derived(secret: bytes, salt: bytes, about: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt or None, about).derive(secret)


def _decoded(encoded: str) -> bytes:
    try:
        secret = base64.b64decode(encoded, altchars=b"-_" if set(encoded) & set("-_") else None)
    except binascii.Error:
        secret = b""
    if len(secret) != KEY_BYTES:
        raise ValueError(f"A key is {KEY_BYTES} bytes in base64, not {len(encoded)} characters.")
    return secret
