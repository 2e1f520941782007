"""One token per byte: a codec whose ids, offsets and prompts can be read by eye."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from inference.types import ModelFingerprint, ModelKind

END = 256
START = 257
_SPECIALS = {"<|im_start|>": START, "<|im_end|>": END}
_SPLIT = re.compile("(" + "|".join(re.escape(text) for text in _SPECIALS) + ")")


class ByteCodec:
    """One token per UTF-8 byte, and the two special tokens of ChatML."""

    def __init__(self, kind: ModelKind, *, context_length: int = 4096) -> None:
        self.kind = kind
        self.context_length = context_length
        self.fingerprint = ModelFingerprint("w" * 64, "t" * 64, f"{kind}", "float32")
        self.eos_ids = frozenset({END})
        self.token_bytes = None

    @property
    def tools_template(self) -> str:
        return ""

    def render(
        self, messages: Sequence[dict[str, Any]], *, add_generation_prompt: bool, tools: Any = None
    ) -> str:
        turns = "".join(
            f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n"
            for message in messages
        )
        return turns + ("<|im_start|>assistant\n" if add_generation_prompt else "")

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        ids: list[int] = []
        for part in _SPLIT.split(text):
            ids += [_SPECIALS[part]] if part in _SPECIALS else part.encode()
        return ids

    def tokenizer_json(self) -> str:
        raise NotImplementedError("only an engine that computes asks for it")

    def name(self, id: int) -> str:
        names = {number: text for text, number in _SPECIALS.items()}
        return names.get(id) or (f"<0x{id:02X}>" if 0 <= id < 256 else "")

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(token for token in ids if token < 256).decode(errors="replace")
