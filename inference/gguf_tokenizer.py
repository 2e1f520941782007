"""A Hugging Face tokenizer from the metadata of a GGUF file: byte-level BPE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from inference.precision import ConversionError

MODELS = ("gpt2",)
PRE_TOKENIZERS = ("smollm", "gpt-2")


class TokenType(IntEnum):
    """GGUF's kinds of token that matter here."""

    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5


def build_tokenizer(metadata: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that `tokenizer.ggml.*` describes.

    Raises ConversionError for a kind of tokenizer that is not in MODELS and PRE_TOKENIZERS.
    """
    _check_supported("tokenizer.ggml.model", metadata.get("tokenizer.ggml.model"), MODELS)
    pre = metadata.get("tokenizer.ggml.pre")
    _check_supported("tokenizer.ggml.pre", pre, PRE_TOKENIZERS)
    tokens: Sequence[str] = metadata["tokenizer.ggml.tokens"]
    types: Sequence[int] = metadata.get("tokenizer.ggml.token_type") or [1] * len(tokens)
    kinds = list(zip(tokens, types, strict=True))
    # Unused ids are padding of the embedding table: their made-up names must not become text.
    vocab = {text: i for i, (text, kind) in enumerate(kinds) if kind != TokenType.UNUSED}
    merges = [_pair(merge) for merge in metadata["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, fuse_unk=False))
    tokenizer.pre_tokenizer = _pre_tokenizer(str(pre))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(_added(kinds, TokenType.CONTROL, special=True))
    tokenizer.add_tokens(_added(kinds, TokenType.USER_DEFINED, special=False))
    if metadata.get("tokenizer.ggml.add_bos_token", False):
        bos = int(metadata["tokenizer.ggml.bos_token_id"])
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{tokens[bos]} $A",
            pair=f"{tokens[bos]} $A {tokens[bos]} $B",
            special_tokens=[(tokens[bos], bos)],
        )
    return tokenizer


def tokenizer_config(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The content of tokenizer_config.json: the names of the special tokens."""
    tokens = metadata["tokenizer.ggml.tokens"]
    names = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    ids = {role: metadata.get(f"tokenizer.ggml.{key}_token_id") for role, key in names.items()}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        **{f"{role}_token": tokens[i] for role, i in ids.items() if i is not None},
    }


def _pre_tokenizer(pre: str) -> pre_tokenizers.PreTokenizer:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if pre == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, byte_level])
    return byte_level


def _added(
    kinds: Sequence[tuple[str, int]], wanted: TokenType, *, special: bool
) -> list[AddedToken]:
    return [
        AddedToken(text, special=special, normalized=False)
        for text, kind in kinds
        if kind == wanted
    ]


def _pair(merge: str) -> tuple[str, str]:
    left, separator, right = merge.partition(" ")
    if not separator or " " in right:
        raise ConversionError(f"tokenizer.ggml.merges holds {merge!r}, which is not two tokens")
    return left, right


def _check_supported(key: str, value: object, supported: Sequence[str]) -> None:
    if value not in supported:
        raise ConversionError(f"{key} is {value!r}; supported are: {', '.join(supported)}")
