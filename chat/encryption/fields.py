"""Columns whose values are encrypted while there are keys, and read either way.

A stored value that begins with a mark is not plain: behind it stands what was sealed, or, where
another mark follows, a plain value that begins with the mark itself. So whatever a person writes
comes back as it was, and rows of before are read as they are. What is empty stays empty: there is
nothing to hide, and who looks for empty ones finds them.

Looking for anything else, and sorting, has no meaning in such a column. A value is bound to its
column, not to its row: Django's fields are told no row when they read.
"""

from __future__ import annotations

import base64
import binascii
import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db import models

from chat.encryption.cipher import Unreadable, opened, sealed
from chat.encryption.keys import ID_BYTES, Key, writing_key

MARK = "enc1:"
PLAIN_MARK = MARK + ":"
BYTES_MARK = b"\xffenc1:"
PLAIN_BYTES_MARK = BYTES_MARK + b"\x00"
SEALED_BYTES_MARK = BYTES_MARK + b"\x01"


if TYPE_CHECKING:
    TextColumn = models.TextField[str, str]
    CharColumn = models.CharField[str, str]
    BinaryColumn = models.BinaryField[bytes | memoryview, bytes | memoryview]
else:
    TextColumn, CharColumn, BinaryColumn = models.TextField, models.CharField, models.BinaryField


class Encrypted:
    """What the kinds of columns have in common; in front of one of Django's."""

    model: type[models.Model]
    column: str

    @cached_property
    def about(self) -> bytes:
        """What its values are bound to."""
        return f"{self.model._meta.db_table}.{self.column}".encode()

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """What is stored, as it was before. Raises Unreadable."""
        raise NotImplementedError

    def key_id(self, raw: Any) -> bytes | None:
        """Of the key that a stored value was encrypted with; None where it is plain."""
        raise NotImplementedError


class _Text(Encrypted):
    def get_prep_value(self, value: Any) -> Any:
        return text_to_store(super().get_prep_value(value), self.about)  # type: ignore[misc]

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return text_from_store(value, self.about)

    def key_id(self, raw: Any) -> bytes | None:
        return _key_id(raw)


class EncryptedTextField(_Text, TextColumn):
    pass


class EncryptedCharField(_Text, CharColumn):
    """max_length is that of the text. What is stored is longer, so the column has no limit."""

    def db_type(self, connection: Any) -> str:
        return str(connection.data_types["TextField"])


class EncryptedJSONField(Encrypted, models.JSONField):
    """What is stored is JSON either way: the sealed value is a string of it."""

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        key = writing_key() if value and not hasattr(value, "resolve_expression") else None
        if key is None:
            return _escaped(value) if isinstance(value, str) else value
        encoded = json.dumps(value, cls=self.encoder, ensure_ascii=False, separators=(",", ":"))
        # Half a character has an escape in JSON, and none in UTF-8.
        return _sealed_text(encoded.encode(errors="backslashreplace"), self.about, key)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        read: Any = models.JSONField.from_db_value(self, value, expression, connection)
        if not isinstance(read, str) or not read.startswith(MARK):
            return read
        text = text_from_store(read, self.about)
        return text if read.startswith(PLAIN_MARK) else json.loads(text, cls=self.decoder)

    def encoded_to_store(self, encoded: str) -> str:
        """A JSON object or list that is encoded already, as it stands in the column."""
        key = writing_key()
        return encoded if key is None else f'"{_sealed_text(encoded.encode(), self.about, key)}"'

    def key_id(self, raw: Any) -> bytes | None:
        return _key_id(raw[1:-1]) if isinstance(raw, str) and raw[:1] == '"' else None


class EncryptedBinaryField(Encrypted, BinaryColumn):
    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        if not value:
            return value
        data, key = bytes(value), writing_key()
        if key is not None:
            return SEALED_BYTES_MARK + sealed(data, self.about, key)
        return PLAIN_BYTES_MARK + data if data.startswith(BYTES_MARK) else data

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        if value is None or bytes(value[: len(BYTES_MARK)]) != BYTES_MARK:
            return value
        data = bytes(value)
        if data.startswith(PLAIN_BYTES_MARK):
            return data[len(PLAIN_BYTES_MARK) :]
        return opened(data[len(SEALED_BYTES_MARK) :], self.about)

    def key_id(self, raw: Any) -> bytes | None:
        begin = len(SEALED_BYTES_MARK)
        is_sealed = raw is not None and bytes(raw[:begin]) == SEALED_BYTES_MARK
        return bytes(raw[begin : begin + ID_BYTES]) if is_sealed else None


def text_to_store(text: Any, about: bytes) -> Any:
    if not text or not isinstance(text, str):
        return text
    key = writing_key()
    return _escaped(text) if key is None else _sealed_text(text.encode(), about, key)


def text_from_store(stored: Any, about: bytes) -> Any:
    """Raises Unreadable."""
    if not isinstance(stored, str) or not stored.startswith(MARK):
        return stored
    if stored.startswith(PLAIN_MARK):
        return stored[len(PLAIN_MARK) :]
    try:
        data = base64.b64decode(stored[len(MARK) :], validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable(f"{about.decode()} has a value that was changed.") from None
    return opened(data, about).decode()


def _sealed_text(data: bytes, about: bytes, key: Key) -> str:
    return MARK + base64.b64encode(sealed(data, about, key)).decode()


def _escaped(text: str) -> str:
    return PLAIN_MARK + text if text.startswith(MARK) else text


def _key_id(stored: Any) -> bytes | None:
    if not isinstance(stored, str) or not stored.startswith(MARK):
        return None
    if stored.startswith(PLAIN_MARK):
        return None
    begin = stored[len(MARK) : len(MARK) + 8]  # six bytes
    try:
        return base64.b64decode(begin)[:ID_BYTES]
    except (binascii.Error, ValueError):
        return b""
