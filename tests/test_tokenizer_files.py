"""A model's files: what is read from them, and clear errors where they are wrong."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from inference import prompt_codec
from inference.errors import InvalidParameter, ModelInvalid, ModelUnavailable
from inference.types import ModelKind
from tests.fixtures_models import CHATML, byte_level_tokenizer, load_chat, write_json, write_model


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A chat model directory of this test's own, to be damaged."""
    return write_model(tmp_path / "model", byte_level_tokenizer())


def edit_json(path: Path, **changes: Any) -> None:
    value = json.loads(path.read_text()) if path.exists() else {}
    write_json(path, value | changes)


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
    assert load_chat(directory).eos_ids == expected


@pytest.mark.parametrize("value", ["2", [2, "0"], {}, 1.5, True])
def test_an_end_token_that_is_no_id(directory: Path, value: Any) -> None:
    write_json(directory / "generation_config.json", {"eos_token_id": value})
    with pytest.raises(ModelInvalid, match=r"generation_config\.json.*eos_token_id"):
        load_chat(directory)


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
    assert load_chat(directory).context_length == expected


@pytest.mark.parametrize("value", [None, 0, -1, "512", 5.5, True])
def test_a_context_length_that_is_none(directory: Path, value: Any) -> None:
    edit_json(directory / "config.json", max_position_embeddings=value)
    with pytest.raises(ModelInvalid, match=r"config\.json.*max_position_embeddings"):
        load_chat(directory)


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json"])
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    (directory / name).unlink()
    with pytest.raises(ModelUnavailable) as caught:
        load_chat(directory)
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
        load_chat(directory)
    assert str(directory / name) in caught.value.message
    assert caught.value.fields["path"] == str(directory / name)


def test_a_half_downloaded_tokenizer(directory: Path) -> None:
    path = directory / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelInvalid, match=r"tokenizer\.json is not valid"):
        load_chat(directory)


def test_a_chat_model_needs_a_template_and_a_completion_model_does_not(directory: Path) -> None:
    edit_json(directory / "tokenizer_config.json", chat_template=None)
    with pytest.raises(ModelInvalid, match=r"tokenizer_config\.json.*chat template"):
        load_chat(directory)
    codec = prompt_codec.load(directory, ModelKind.COMPLETION, "weights", "float32")
    assert codec.fingerprint.template == ""
    with pytest.raises(InvalidParameter, match="continues text"):
        codec.render([{"role": "user", "content": "hi"}], add_generation_prompt=True)


def test_where_the_template_comes_from(directory: Path) -> None:
    other = "{{ messages[0]['content'] }}"
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": other}]
    messages = [{"role": "user", "content": "hi"}]
    assert "<|im_start|>user\nhi" in load_chat(directory).render(
        messages, add_generation_prompt=False
    )
    edit_json(directory / "tokenizer_config.json", chat_template=named)
    assert load_chat(directory).render(messages, add_generation_prompt=False) == "hi"
    (directory / "chat_template.jinja").write_text("file: " + other)
    assert load_chat(directory).render(messages, add_generation_prompt=False) == "file: hi"


@pytest.mark.parametrize("value", [7, [], [{"name": "other", "template": "x"}], ["x"], {"a": 1}])
def test_a_template_of_the_wrong_shape(directory: Path, value: Any) -> None:
    edit_json(directory / "tokenizer_config.json", chat_template=value)
    with pytest.raises(ModelInvalid, match=r"tokenizer_config\.json"):
        load_chat(directory)


def test_a_template_that_is_not_text(directory: Path) -> None:
    (directory / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelInvalid, match=r"chat_template\.jinja.*UTF-8"):
        load_chat(directory)


def test_the_template_sees_the_special_tokens(directory: Path) -> None:
    write_json(directory / "special_tokens_map.json", {"bos_token": "<a>", "pad_token": "<p>"})
    edit_json(
        directory / "tokenizer_config.json",
        bos_token={"content": "<|im_start|>", "lstrip": False},
        chat_template="{{ bos_token }}{{ pad_token }}{{ eos_token }}",
    )
    text = load_chat(directory).render([], add_generation_prompt=False)
    assert text == "<|im_start|><p>"


def test_the_fingerprint_names_each_part(directory: Path) -> None:
    before = load_chat(directory).fingerprint
    raw = (directory / "tokenizer.json").read_bytes()
    assert before.tokenizer == hashlib.sha256(raw).hexdigest()
    assert before.template == hashlib.sha256(CHATML.encode()).hexdigest()
    assert (before.weights, before.dtype) == ("weights", "float32")
    (directory / "tokenizer.json").write_bytes(raw + b"\n")
    edit_json(directory / "tokenizer_config.json", chat_template=CHATML + " ")
    after = load_chat(directory).fingerprint
    assert after.tokenizer != before.tokenizer
    assert after.template != before.template
