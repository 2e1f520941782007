"""Text to tokens and back as transformers does it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from inference.client import PromptCodec
from inference.errors import InvalidParameter
from inference.prompt_codec import TokenizerCodec
from inference.types import ModelKind
from tests.fixtures_models import (
    TEXTS,
    byte_fallback_tokenizer,
    byte_level_tokenizer,
    chat_codec,
    chat_model_dir,
    codec,
    load_chat,
    model_dir,
    model_dirs,
    write_model,
)

__all__ = ["chat_codec", "chat_model_dir", "codec", "model_dir", "model_dirs"]


@pytest.fixture(scope="module")
def reference(model_dir: Path) -> Any:
    """transformers' reading of tokenizer.json. (Its AutoTokenizer rebuilds what calls itself a
    LlamaTokenizer by rules of its own, and then differs from the file the model came with.)"""
    return PreTrainedTokenizerFast.from_pretrained(model_dir)


@pytest.mark.parametrize("add_special_tokens", [False, True])
@pytest.mark.parametrize("text", TEXTS)
def test_ids_equal_transformers(
    codec: TokenizerCodec, reference: Any, text: str, add_special_tokens: bool
) -> None:
    expected = reference(text, add_special_tokens=add_special_tokens)["input_ids"]
    assert codec.encode(text, add_special_tokens=add_special_tokens) == expected


@pytest.mark.parametrize("text", TEXTS)
def test_text_equals_transformers(codec: TokenizerCodec, reference: Any, text: str) -> None:
    special = codec._special_ids
    ids = [id for id in codec.encode(text) if id not in special]
    assert codec.decode(ids) == reference.decode(ids, clean_up_tokenization_spaces=False)


@hypothesis_settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=80))
def test_any_text_equals_transformers(codec: TokenizerCodec, reference: Any, text: str) -> None:
    assert codec.encode(text) == reference(text, add_special_tokens=False)["input_ids"]


def test_special_tokens_written_by_the_user_become_their_ids(chat_codec: TokenizerCodec) -> None:
    assert chat_codec.encode("<|im_start|>a<|im_end|>")[0] == 1
    assert chat_codec.encode("<|im_start|>a<|im_end|>")[-1] == 2


def test_special_tokens_have_no_text(codec: TokenizerCodec) -> None:
    ids = codec.encode("one day")
    assert codec.decode([2, *ids, 0, 1, 2]) == codec.decode(ids)
    assert codec.decode([0, 1, 2]) == ""


def test_a_token_named_as_special_has_no_text(tmp_path: Path) -> None:
    """Also where tokenizer.json has it among the ordinary ones."""
    directory = write_model(tmp_path, byte_level_tokenizer(), eos_token="!")
    reference = PreTrainedTokenizerFast.from_pretrained(directory)
    codec = load_chat(directory)
    ids = codec.encode("stop!")
    assert codec.decode(ids) == reference.decode(ids, skip_special_tokens=True) == "stop"


def test_an_id_without_a_token_has_no_text(codec: TokenizerCodec) -> None:
    """Padded vocabularies let a model pick one."""
    ids = codec.encode("one")
    assert codec.decode([*ids, 10**6]) == codec.decode(ids)


def test_one_broken_byte_costs_one_character(tmp_path: Path) -> None:
    """The library's byte-fallback decoder would give up all of them."""
    codec = load_chat(write_model(tmp_path, byte_fallback_tokenizer()))
    you, broken = codec.encode("你")[-3:], codec.encode("好")[-1:]
    assert codec.decode(you + broken) == "你\ufffd"
    assert codec.decode(you + broken + [10**6] + you) == "你\ufffd你"
    assert codec.decode(you[:-1]) == "\ufffd"


@pytest.mark.parametrize("processor", [False, True])
@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"add_bos_token": True},
        {"add_bos_token": False},
        {"add_eos_token": True},
        {"add_bos_token": True, "add_eos_token": True},
        {"add_bos_token": True, "bos_token": None},
    ],
    ids=str,
)
def test_beginning_and_end_tokens(tmp_path: Path, processor: bool, flags: dict[str, Any]) -> None:
    tokenizer = byte_level_tokenizer()
    if processor:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
        )
    tokens = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    directory = write_model(tmp_path, tokenizer, **(tokens | flags))
    expected = PreTrainedTokenizerFast.from_pretrained(directory)("day")["input_ids"]
    assert load_chat(directory).encode("day", add_special_tokens=True) == expected


def test_prompts_are_never_cut_or_padded(tmp_path: Path) -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=64)
    codec = load_chat(write_model(tmp_path / "trained", tokenizer))
    plain = load_chat(write_model(tmp_path / "plain", byte_level_tokenizer()))
    assert codec.encode("a longer text") == plain.encode("a longer text")


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ud83c\udf89"])
def test_half_a_surrogate_pair_is_refused(codec: TokenizerCodec, text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        codec.encode(text)
    assert caught.value.fields["param"] == "text"
    caught.value.message.encode()


def test_a_megabyte_is_encoded(chat_codec: TokenizerCodec) -> None:
    text = "word " * 200_000
    assert chat_codec.decode(chat_codec.encode(text)) == text


def test_threads_share_a_codec(chat_codec: TokenizerCodec) -> None:
    expected = [chat_codec.encode(text) for text in TEXTS]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            assert list(pool.map(chat_codec.encode, TEXTS)) == expected


def test_the_chat_model(chat_codec: TokenizerCodec) -> None:
    promised: PromptCodec = chat_codec
    assert promised.kind is ModelKind.CHAT
    assert promised.context_length == 8192
    assert 2 in promised.eos_ids


def test_text_needs_neither_torch_nor_django() -> None:
    modules = "inference.prompt_codec, inference.chat_template, inference.detokenizer"
    code = f"import sys, {modules}; print({{'torch', 'django'}} & set(sys.modules))"
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=settings.BASE_DIR, capture_output=True, check=True
    )
    assert child.stdout.strip() == b"set()"
