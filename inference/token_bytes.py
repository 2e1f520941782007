"""Text of byte-level vocabularies (GPT-2's, Llama 3's, SmolLM2's): there each token stands for
certain bytes whatever is around it, so nothing has to be decoded a second time. No torch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from tokenizers import Tokenizer

REPLACEMENT = "\ufffd"
# A broken UTF-8 sequence that makes one U+FFFD is at most this long.
_LONGEST_BROKEN = 3


class TokenBytes:
    """bytes: what each id stands for. texts: the same as text, None where it is not whole
    characters."""

    def __init__(self, values: Sequence[bytes]) -> None:
        self.bytes = tuple(values)
        self.texts = tuple(map(_whole, self.bytes))

    @classmethod
    def of(cls, tokenizer: Tokenizer, special_ids: frozenset[int]) -> TokenBytes | None:
        """Of a tokenizer whose decoder is the byte-level one, else None. Special tokens, and ids
        without a token, stand for nothing."""
        decoder = tokenizer.decoder
        if decoder is None or b'"type":"ByteLevel"' not in decoder.__getstate__()[:20]:
            return None
        vocabulary = tokenizer.get_vocab(with_added_tokens=True)
        values = [b""] * (max(vocabulary.values(), default=-1) + 1)
        for token, id in vocabulary.items():
            if id not in special_ids:
                values[id] = _bytes_of(token)
        return cls(values)

    def __getitem__(self, id: int) -> bytes:
        return self.bytes[id] if id < len(self.bytes) else b""


class ByteWindow:
    """The bytes whose characters are not settled yet: at most the beginning of one."""

    def __init__(self, tokens: TokenBytes, prefix_ids: Sequence[int]) -> None:
        self._tokens, self._texts = tokens, tokens.texts
        self._open = b""
        for id in prefix_ids:
            self.push(id)

    def push(self, id: int) -> str:
        """The characters that this token settles."""
        if not self._open and id < len(self._texts):
            text = self._texts[id]
            if text is not None:
                return text
        self._open += self._tokens[id]
        text = self._open.decode(errors="replace")
        if not text.endswith(REPLACEMENT):
            self._open = b""
            return text
        self._open = self._open[-_last_length(self._open) :]
        return text[:-1]


def _last_length(data: bytes) -> int:
    """Of its last character, a broken one, in bytes."""
    for length in range(_LONGEST_BROKEN, 1, -1):
        if data[-length:].decode(errors="replace") == REPLACEMENT:
            return length
    return 1


def _whole(data: bytes) -> str | None:
    text = data.decode(errors="replace")
    return None if REPLACEMENT in text else text


def _bytes_of(token: str) -> bytes:
    """Added tokens are plain text: they have characters that stand for no byte."""
    alphabet = _alphabet()
    if all(character in alphabet for character in token):
        return bytes(map(alphabet.__getitem__, token))
    return token.encode()


@cache
def _alphabet() -> dict[str, int]:
    """GPT-2's: printable bytes are themselves, the others take the characters from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + index): byte for index, byte in enumerate(others)
    }
