"""Text to tokens and back as transformers does it, and clear errors for files that are wrong."""

from __future__ import annotations

import hashlib
import json
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

from inference import prompt_codec
from inference.client import PromptCodec
from inference.errors import InvalidParameter, ModelInvalid, ModelUnavailable
from inference.prompt_codec import TokenizerCodec
from inference.types import ModelKind
from tests.fixtures_models import (
    CHATML,
    TEXTS,
    byte_fallback_tokenizer,
    byte_level_tokenizer,
    chat_codec,
    chat_model_dir,
    codec,
    model_dir,
    model_dirs,
    write_json,
    write_model,
)

__all__ = ["chat_codec", "chat_model_dir", "codec", "model_dir", "model_dirs"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A chat model directory of this test's own, to be damaged."""
    return write_model(tmp_path / "model", byte_level_tokenizer())


def load(directory: Path, kind: ModelKind = ModelKind.CHAT) -> TokenizerCodec:
    return prompt_codec.load(directory, kind, "weights", "float32")


def edit_json(path: Path, **changes: Any) -> None:
    value = json.loads(path.read_text()) if path.exists() else {}
    write_json(path, value | changes)


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
    codec = load(directory)
    ids = codec.encode("stop!")
    assert codec.decode(ids) == reference.decode(ids, skip_special_tokens=True) == "stop"


def test_an_id_without_a_token_has_no_text(codec: TokenizerCodec) -> None:
    """Padded vocabularies let a model pick one."""
    ids = codec.encode("one")
    assert codec.decode([*ids, 10**6]) == codec.decode(ids)


def test_one_broken_byte_costs_one_character(tmp_path: Path) -> None:
    """The library's byte-fallback decoder would give up all of them."""
    codec = load(write_model(tmp_path, byte_fallback_tokenizer()))
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
    assert load(directory).encode("day", add_special_tokens=True) == expected


def test_prompts_are_never_cut_or_padded(tmp_path: Path) -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=64)
    codec = load(write_model(tmp_path / "trained", tokenizer))
    plain = load(write_model(tmp_path / "plain", byte_level_tokenizer()))
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


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        (None, 2, {2}),
        ({"eos_token_id": 0}, 2, {0}),
        ({"eos_token_id": [0, 2]}, 1, {0, 2}),
        ({"eos_token_id": None}, [1, 2], {1, 2}),
        ({}, None, set()),
    ],
)
def test_tokens_that_end_an_answer(
    directory: Path, generation: Any, config: Any, expected: set[int]
) -> None:
    edit_json(directory / "config.json", eos_token_id=config)
    if generation is not None:
        write_json(directory / "generation_config.json", generation)
    assert load(directory).eos_ids == expected


@pytest.mark.parametrize("value", ["2", [2, "0"], {}, 1.5, True])
def test_an_end_token_that_is_no_id(directory: Path, value: Any) -> None:
    write_json(directory / "generation_config.json", {"eos_token_id": value})
    with pytest.raises(ModelInvalid, match=r"generation_config\.json.*eos_token_id"):
        load(directory)


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 512}, 512),
        ({"max_position_embeddings": 512, "rope_scaling": None}, 512),
        ({"max_position_embeddings": 512, "rope_scaling": {"type": "linear", "factor": 2}}, 512),
        ({"max_position_embeddings": 512, "rope_scaling": YARN | {"rope_type": "llama3"}}, 512),
        ({"max_position_embeddings": 2048, "rope_scaling": YARN}, 8192),
        ({"max_position_embeddings": 16384, "rope_scaling": YARN}, 16384),
        ({"max_position_embeddings": 512, "rope_scaling": {"type": "yarn", "factor": 2}}, 1024),
    ],
)
def test_context_length(directory: Path, config: dict[str, Any], expected: int) -> None:
    write_json(directory / "config.json", config)
    assert load(directory).context_length == expected


@pytest.mark.parametrize("value", [None, 0, -1, "512", 5.5, True])
def test_a_context_length_that_is_none(directory: Path, value: Any) -> None:
    edit_json(directory / "config.json", max_position_embeddings=value)
    with pytest.raises(ModelInvalid, match=r"config\.json.*max_position_embeddings"):
        load(directory)


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json"])
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    (directory / name).unlink()
    with pytest.raises(ModelUnavailable) as caught:
        load(directory)
    assert str(directory / name) in caught.value.message
    assert caught.value.fields == {"model": "model", "path": str(directory / name)}


@pytest.mark.parametrize("content", [b"", b'{"version": "1.0", "mod', b"\xff\xfe{}", b"[]", b"{}"])
@pytest.mark.parametrize(
    "name", ["tokenizer.json", "config.json", "tokenizer_config.json", "generation_config.json"]
)
def test_a_broken_file_is_named(directory: Path, name: str, content: bytes) -> None:
    if name != "tokenizer.json" and content == b"{}":
        content = b'"{}"'
    (directory / name).write_bytes(content)
    with pytest.raises(ModelInvalid) as caught:
        load(directory)
    assert str(directory / name) in caught.value.message
    assert caught.value.fields["path"] == str(directory / name)


def test_a_half_downloaded_tokenizer(directory: Path) -> None:
    path = directory / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelInvalid, match=r"tokenizer\.json is not valid"):
        load(directory)


def test_a_chat_model_needs_a_template_and_a_completion_model_does_not(directory: Path) -> None:
    edit_json(directory / "tokenizer_config.json", chat_template=None)
    with pytest.raises(ModelInvalid, match=r"tokenizer_config\.json.*chat template"):
        load(directory)
    codec = load(directory, ModelKind.COMPLETION)
    assert codec.fingerprint.template == ""
    with pytest.raises(InvalidParameter, match="continues text"):
        codec.render([{"role": "user", "content": "hi"}], add_generation_prompt=True)


def test_where_the_template_comes_from(directory: Path) -> None:
    other = "{{ messages[0]['content'] }}"
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": other}]
    messages = [{"role": "user", "content": "hi"}]
    assert "<|im_start|>user\nhi" in load(directory).render(messages, add_generation_prompt=False)
    edit_json(directory / "tokenizer_config.json", chat_template=named)
    assert load(directory).render(messages, add_generation_prompt=False) == "hi"
    (directory / "chat_template.jinja").write_text("file: " + other)
    assert load(directory).render(messages, add_generation_prompt=False) == "file: hi"


@pytest.mark.parametrize("value", [7, [], [{"name": "other", "template": "x"}], ["x"], {"a": 1}])
def test_a_template_of_the_wrong_shape(directory: Path, value: Any) -> None:
    edit_json(directory / "tokenizer_config.json", chat_template=value)
    with pytest.raises(ModelInvalid, match=r"tokenizer_config\.json"):
        load(directory)


def test_a_template_that_is_not_text(directory: Path) -> None:
    (directory / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelInvalid, match=r"chat_template\.jinja.*UTF-8"):
        load(directory)


def test_the_template_sees_the_special_tokens(directory: Path) -> None:
    write_json(directory / "special_tokens_map.json", {"bos_token": "<a>", "pad_token": "<p>"})
    edit_json(
        directory / "tokenizer_config.json",
        bos_token={"content": "<|im_start|>", "lstrip": False},
        chat_template="{{ bos_token }}{{ pad_token }}{{ eos_token }}",
    )
    text = load(directory).render([], add_generation_prompt=False)
    assert text == "<|im_start|><p>"


def test_the_fingerprint_names_each_part(directory: Path) -> None:
    before = load(directory).fingerprint
    raw = (directory / "tokenizer.json").read_bytes()
    assert before.tokenizer == hashlib.sha256(raw).hexdigest()
    assert before.template == hashlib.sha256(CHATML.encode()).hexdigest()
    assert (before.weights, before.dtype) == ("weights", "float32")
    (directory / "tokenizer.json").write_bytes(raw + b"\n")
    edit_json(directory / "tokenizer_config.json", chat_template=CHATML + " ")
    after = load(directory).fingerprint
    assert after.tokenizer != before.tokenizer
    assert after.template != before.template


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
