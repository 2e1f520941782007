"""One model's tokenizer and chat template: text to tokens and back.

Everything comes from the model's directory: tokenizer.json (required), config.json (required),
and, where there are any, generation_config.json, tokenizer_config.json, special_tokens_map.json
and chat_template.jinja. No torch here.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from inference.chat_template import ChatTemplate
from inference.config import context_for, context_length, rope_kind
from inference.errors import InvalidParameter, ModelInvalid, ModelUnavailable
from inference.token_bytes import REPLACEMENT, TokenBytes
from inference.types import ModelFingerprint, ModelKind

BYTE_TOKENS = {f"<0x{byte:02X}>": byte for byte in range(256)}


class TokenizerCodec:
    """The `inference.client.PromptCodec` of a model directory; made by `load`."""

    def __init__(
        self,
        *,
        tokenizer: Tokenizer,
        template: ChatTemplate | None,
        kind: ModelKind,
        context_length: int,
        eos_ids: frozenset[int],
        special_ids: frozenset[int],
        fingerprint: ModelFingerprint,
    ) -> None:
        self.kind = kind
        self.context_length = context_length
        self.eos_ids = eos_ids
        self.fingerprint = fingerprint
        self._tokenizer = tokenizer
        self._template = template
        self._special_ids = special_ids
        self.token_bytes = TokenBytes.of(tokenizer, special_ids)
        decoder = tokenizer.decoder
        self._byte_fallback = decoder is not None and b"ByteFallback" in decoder.__getstate__()

    @property
    def tools_template(self) -> str:
        """The chat template's text, if it says something about tools, else ''."""
        template = self._template
        return template.source if template and template.takes_tools else ""

    def render(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        add_generation_prompt: bool,
        tools: Sequence[dict[str, Any]] | None = None,
    ) -> str:
        """The chat template over messages. Raises InvalidParameter if it refuses them."""
        if self._template is None:
            allowed = "plain text: this model continues text and has no chat template"
            raise InvalidParameter("messages", f"{len(messages)} messages", allowed)
        return self._template.render(
            messages, add_generation_prompt=add_generation_prompt, tools=tools
        )

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Token ids of text. Raises InvalidParameter for text that is not Unicode (half a
        surrogate pair).

        add_special_tokens: as tokenizer.json's own processor does. Where there is that file,
        tokenizer_config.json's add_bos_token has no say (nor has it in transformers).
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            broken = text[error.start : error.end]
            raise InvalidParameter("text", broken, "valid Unicode, without surrogates") from error
        return list(self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)

    def tokenizer_json(self) -> str:
        return str(self._tokenizer.to_str())

    def name(self, id: int) -> str:
        """As it stands in the vocabulary; '' for an id that has no token."""
        return self._tokenizer.id_to_token(id) or "" if id >= 0 else ""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, without special tokens and without ids that have no token. Each broken
        UTF-8 sequence is one U+FFFD, however the tokenizer stores bytes."""
        kept = [id for id in ids if id not in self._special_ids]
        text = str(self._tokenizer.decode(kept, skip_special_tokens=False))
        if self._byte_fallback and REPLACEMENT in text:
            return self._decode_broken_bytes(kept)
        return text

    def _decode_broken_bytes(self, ids: Sequence[int]) -> str:
        """A byte-fallback decoder gives up a whole run of bytes when one of them is wrong, also
        characters that were shown long ago. Here only the wrong ones are lost."""
        known = [token for id in ids if (token := self._tokenizer.id_to_token(id)) is not None]
        tokens: list[str] = []
        for in_bytes, run in itertools.groupby(known, BYTE_TOKENS.__contains__):
            if not in_bytes:
                tokens += run
                continue
            for character in bytes(map(BYTE_TOKENS.__getitem__, run)).decode(errors="replace"):
                whole = character != REPLACEMENT
                tokens += [f"<0x{b:02X}>" for b in character.encode()] if whole else [character]
        return str(self._tokenizer.decoder.decode(tokens))


def load(
    directory: Path,
    kind: ModelKind,
    weights_fingerprint: str,
    dtype: str,
    context_tokens: int = 0,
) -> TokenizerCodec:
    """The codec of the model in `directory`. context_tokens: see `inference.config.context_for`.

    Raises ModelUnavailable when a needed file is missing and ModelInvalid when one is broken, both
    naming its path, and InvalidParameter. Takes about a second for a large vocabulary, and a child
    process for the first use of a chat template: not for the event loop.
    """
    path = directory / "tokenizer.json"
    raw = _read(path)
    config = _read_json(directory / "config.json", required=True)
    tokenizer_config = _read_json(directory / "tokenizer_config.json")
    special_tokens = _special_tokens(directory, tokenizer_config)
    tokenizer = _tokenizer(path, raw)
    template = chat_template(directory) if kind is ModelKind.CHAT else None
    own = context_length(config, directory / "config.json")
    length = context_for(own, rope_kind(config, directory / "config.json"), context_tokens)
    return TokenizerCodec(
        tokenizer=tokenizer,
        template=template,
        kind=kind,
        context_length=length,
        eos_ids=_eos_ids(directory, config),
        special_ids=_special_ids(tokenizer, special_tokens),
        fingerprint=ModelFingerprint(
            weights=weights_fingerprint,
            tokenizer=hashlib.sha256(raw).hexdigest(),
            template=template.sha256 if template else "",
            dtype=dtype,
            stretched=str(length) if length > own else "",
        ),
    )


def chat_template(directory: Path) -> ChatTemplate:
    """The template of a model's files. Raises ModelInvalid where there is none that works."""
    tokenizer_config = _read_json(directory / "tokenizer_config.json")
    special_tokens = _special_tokens(directory, tokenizer_config)
    return ChatTemplate(*_template_source(directory, tokenizer_config), special_tokens)


def has_chat_template(directory: Path) -> bool:
    """Whether a model's files say how to chat with it."""
    if (directory / "chat_template.jinja").exists():
        return True
    return "chat_template" in _read_json(directory / "tokenizer_config.json")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelUnavailable(
            f"{path} cannot be read: {error.strerror}.", model=path.parent.name, path=str(path)
        ) from error


def _invalid(path: Path, detail: str) -> ModelInvalid:
    return ModelInvalid(f"{path} is not valid: {detail}.", path=str(path), detail=detail)


def _read_json(path: Path, *, required: bool = False) -> dict[str, Any]:
    if not required and not path.exists():
        return {}
    try:
        value = json.loads(_read(path))
    except ValueError as error:
        raise _invalid(path, f"it is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise _invalid(path, f"it holds a {type(value).__name__}, not an object")
    return value


def _special_tokens(directory: Path, tokenizer_config: Mapping[str, Any]) -> dict[str, str]:
    """bos_token, eos_token and so on; a value is the token or an object that describes it."""
    named = _read_json(directory / "special_tokens_map.json") | dict(tokenizer_config)
    contents = {
        name: value.get("content") if isinstance(value, dict) else value
        for name, value in named.items()
        if re.fullmatch(r"[a-z]+_token", name)
    }
    return {name: value for name, value in contents.items() if isinstance(value, str)}


def _tokenizer(path: Path, raw: bytes) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_str(raw.decode())
    # The library raises a bare Exception for whatever does not parse.
    except Exception as error:
        raise _invalid(path, f"it does not describe a tokenizer ({error})") from error
    # Kept in the file for training; a prompt is never cut or filled up.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _special_ids(tokenizer: Tokenizer, special_tokens: Mapping[str, str]) -> frozenset[int]:
    """Ids that have no text: marked as special, or named as bos, eos and so on."""
    marked = {id for id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    named = {tokenizer.token_to_id(token) for token in special_tokens.values()}
    return frozenset(marked | {id for id in named if id is not None})


def _template_source(directory: Path, tokenizer_config: Mapping[str, Any]) -> tuple[str, Path]:
    path = directory / "chat_template.jinja"
    if path.exists():
        try:
            return _read(path).decode(), path
        except UnicodeDecodeError as error:
            raise _invalid(path, f"it is not UTF-8 ({error})") from error
    path = directory / "tokenizer_config.json"
    source = tokenizer_config.get("chat_template")
    if isinstance(source, list):
        entries = [entry for entry in source if isinstance(entry, dict)]
        named = {entry.get("name"): entry.get("template") for entry in entries}
        source = named.get("default")
    if not isinstance(source, str):
        detail = "a chat model needs a chat template, in chat_template.jinja or in this file"
        raise _invalid(path, detail)
    return source, path


def _eos_ids(directory: Path, config: Mapping[str, Any]) -> frozenset[int]:
    """Tokens that end an answer: generation_config.json's word, else config.json's."""
    path = directory / "generation_config.json"
    value = _read_json(path).get("eos_token_id")
    if value is None:
        path, value = directory / "config.json", config.get("eos_token_id")
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(id, int) and not isinstance(id, bool) for id in ids):
        raise _invalid(path, f"eos_token_id is {value!r}, and must be an integer or a list of them")
    return frozenset(ids)
