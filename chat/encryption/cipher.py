"""Bytes sealed with AES-256-GCM: nobody without the key can read them, change them, or put them
into another column.

sealed: id of the key (4 bytes), salt (16), nonce (12), ciphertext, tag (16). A random nonce may
serve for some 2**32 values of one key. So each start of a process derives a key of its own, by a
salt; that also keeps what two processes write apart.
"""

from __future__ import annotations

import itertools
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag

from chat.encryption.keys import ID_BYTES, NAME, Key, keys

SALT_BYTES, NONCE_BYTES, TAG_BYTES = 16, 12, 16
OVERHEAD = ID_BYTES + SALT_BYTES + NONCE_BYTES + TAG_BYTES
_VALUES_BITS = 30
"""Of the number of values after which a process takes another salt."""

_values = itertools.count()


class Unreadable(RuntimeError):
    """No key opens a value, or it was changed, or is of another column."""


def sealed(data: bytes, about: bytes, key: Key) -> bytes:
    """about: what it belongs to; only who says the same can open it."""
    salt, nonce = _salt(next(_values) >> _VALUES_BITS), os.urandom(NONCE_BYTES)
    return key.id + salt + nonce + key.cipher(salt).encrypt(nonce, data, about)


def opened(data: bytes, about: bytes) -> bytes:
    """Raises Unreadable."""
    begin = ID_BYTES + SALT_BYTES
    key = next((key for key in keys() if key.id == data[:ID_BYTES]), None)
    if key is None:
        raise Unreadable(
            f"{about.decode()} was encrypted with the key {data[:ID_BYTES].hex()}, "
            f"which is not in {NAME}."
        )
    nonce = data[begin : begin + NONCE_BYTES]
    try:
        return key.cipher(data[ID_BYTES:begin]).decrypt(nonce, data[begin + NONCE_BYTES :], about)
    except (InvalidTag, ValueError):
        raise Unreadable(
            f"{about.decode()} has a value that was changed, or is of another column."
        ) from None


@lru_cache(maxsize=2)
def _salt(turn: int) -> bytes:
    return os.urandom(SALT_BYTES)
