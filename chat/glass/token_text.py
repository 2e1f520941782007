"""What a token is called where it is looked at by itself."""

from __future__ import annotations

import re

from chat.engine import PromptCodec

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def token_bytes(codec: PromptCodec, id: int) -> bytes:
    """Its text, with its spaces, which may be no whole characters; the name of one without text."""
    name = codec.name(id)
    if codec.token_bytes is not None:
        return codec.token_bytes[id] or name.encode()
    if byte := _BYTE.fullmatch(name):
        return bytes.fromhex(byte[1])
    return name.replace("▁", " ").encode()


def token_text(codec: PromptCodec, id: int) -> str:
    """The same as text; bytes that are no whole characters as ⟨E4 BD⟩."""
    data = token_bytes(codec, id)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"⟨{data.hex(' ').upper()}⟩"
