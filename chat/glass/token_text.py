"""What a token is called where it is looked at by itself."""

from __future__ import annotations

import re

from chat.engine import PromptCodec

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def token_text(codec: PromptCodec, id: int) -> str:
    """Its text with its spaces; bytes that are no whole characters as ⟨E4 BD⟩, and the name of one
    that has no text."""
    name = codec.name(id)
    if codec.token_bytes is not None:
        data = codec.token_bytes[id]
        return _text(data) if data else name
    if byte := _BYTE.fullmatch(name):
        return _text(bytes.fromhex(byte[1]))
    return name.replace("▁", " ")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"⟨{data.hex(' ').upper()}⟩"
