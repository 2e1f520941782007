"""The operator's keys: of TINYLLM_ENCRYPTION_KEYS the first one encrypts, all of them decrypt."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

NAME = "TINYLLM_ENCRYPTION_KEYS"
KEY_BYTES = 32
ID_BYTES = 4
_CIPHERS = 4096
"""Derived keys that are kept: one for each start of a process that has written what is read."""

_writes_plain: ContextVar[bool] = ContextVar("writes_plain", default=False)


@dataclass(frozen=True, slots=True)
class Key:
    """id: what tells it from other keys, and says nothing about it."""

    secret: bytes = field(repr=False)
    id: bytes

    @property
    def name(self) -> str:
        """Its id for people."""
        return self.id.hex()

    def cipher(self, salt: bytes) -> AESGCM:
        return _cipher(self.secret, salt)


def is_on() -> bool:
    """Whether what is written is encrypted."""
    return bool(settings.TINYLLM_ENCRYPTION_KEYS) and not _writes_plain.get()


def writing_key() -> Key | None:
    return keys()[0] if is_on() else None


def keys() -> tuple[Key, ...]:
    """Raises ImproperlyConfigured."""
    return _keys(settings.TINYLLM_ENCRYPTION_KEYS)


@contextmanager
def writing_plain() -> Iterator[None]:
    """What is written in here is not encrypted; what is read still may be."""
    token = _writes_plain.set(True)
    try:
        yield
    finally:
        _writes_plain.reset(token)


@lru_cache(maxsize=8)
def _keys(texts: tuple[str, ...]) -> tuple[Key, ...]:
    return tuple(_key(number, text) for number, text in enumerate(texts, start=1))


def _key(number: int, text: str) -> Key:
    try:
        secret = base64.b64decode(text, altchars=b"-_" if set(text) & set("-_") else None)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise ImproperlyConfigured(
            f"Key {number} of {NAME} is not {KEY_BYTES} random bytes in base64 "
            f"(44 characters); it has {len(text)} characters."
        )
    return Key(secret, _derived(secret, b"", b"tinyllm key id", ID_BYTES))


@lru_cache(maxsize=_CIPHERS)
def _cipher(secret: bytes, salt: bytes) -> AESGCM:
    return AESGCM(_derived(secret, salt, b"tinyllm rows", KEY_BYTES))


def _derived(secret: bytes, salt: bytes, about: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt or None, about).derive(secret)
