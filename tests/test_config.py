"""config.json, read with errors that name the file, the field, its value and what is allowed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from inference import prompt_codec
from inference.config import ModelConfig
from inference.errors import ModelInvalid, ModelUnavailable, UnsupportedArchitecture
from inference.rope import rope_tables
from inference.types import ModelKind
from tests.tiny_llama import write_json, write_tiny_llama

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}
MISSING = object()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "model")


def change(directory: Path, **fields: Any) -> None:
    path = directory / "config.json"
    config = json.loads(path.read_text()) | fields
    write_json(path, {name: value for name, value in config.items() if value is not MISSING})


def test_sizes_are_read(directory: Path) -> None:
    config = ModelConfig.load(directory)
    assert (config.heads, config.kv_heads, config.head_dim) == (4, 2, 16)
    assert (config.hidden_size, config.intermediate_size, config.layers) == (64, 96, 2)
    assert (config.vocab_size, config.context_length, config.tied_embeddings) == (512, 512, True)


def test_what_older_files_leave_out(directory: Path) -> None:
    change(
        directory,
        num_key_value_heads=MISSING,
        head_dim=MISSING,
        rms_norm_eps=MISSING,
        rope_theta=MISSING,
        rope_scaling=MISSING,
        tie_word_embeddings=MISSING,
        attention_bias=MISSING,
        mlp_bias=None,
        hidden_act=MISSING,
    )
    config = ModelConfig.load(directory)
    assert (config.kv_heads, config.head_dim, config.norm_eps) == (4, 16, 1e-6)
    assert (config.rope.theta, config.rope.kind) == (10000.0, "default")
    assert (config.tied_embeddings, config.attention_bias, config.mlp_bias) == (False,) * 3


@pytest.mark.parametrize(
    "name",
    [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "max_position_embeddings",
    ],
)
@pytest.mark.parametrize("value", [0, -4, 1.5, "64", True, [64]])
def test_a_size_is_a_whole_number(directory: Path, name: str, value: Any) -> None:
    change(directory, **{name: value})
    with pytest.raises(ModelInvalid) as invalid:
        ModelConfig.load(directory)
    path = directory / "config.json"
    wanted = f"{name} = {value!r} is not allowed: it must be an integer of at least 1"
    assert invalid.value.message == f"{path}: {wanted}."
    assert invalid.value.fields == {"path": str(path), "field": name, "value": value}


@pytest.mark.parametrize(
    "name", ["vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings"]
)
def test_a_size_that_is_missing_is_named(directory: Path, name: str) -> None:
    change(directory, **{name: MISSING})
    with pytest.raises(ModelInvalid, match=f"{name} = None is not allowed"):
        ModelConfig.load(directory)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_key_value_heads": 3}, "num_attention_heads = 4 must be a multiple of num_key_value"),
        ({"head_dim": 15}, "head_dim = 15 must be even"),
        ({"head_dim": None, "hidden_size": 3}, "head_dim = 0 is not allowed"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu', only 'silu' is supported"),
        ({"rms_norm_eps": 0}, "rms_norm_eps = 0 is not allowed: it must be a number above 0"),
        ({"rms_norm_eps": "1e-5"}, "rms_norm_eps = '1e-5' is not allowed"),
        ({"rms_norm_eps": math.inf}, "rms_norm_eps = inf is not allowed"),
        ({"rope_theta": -1}, "rope_theta = -1 is not allowed"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings = 'yes' .* must be true or false"),
        ({"attention_bias": 1}, "attention_bias = 1 .* must be true or false"),
        ({"rope_scaling": "linear"}, "rope_scaling = 'linear' .* must be an object"),
        ({"rope_parameters": [1]}, "rope_parameters = .* must be an object"),
        ({"rope_scaling": {"type": "dynamic"}}, "'dynamic' .*default, linear, llama3, yarn"),
        ({"rope_scaling": {"type": {}}}, "rope type {} is not supported"),
        ({"rope_scaling": {"type": "linear"}}, r"rope_scaling\.factor = None is not allowed"),
        (
            {"rope_scaling": {"type": "linear", "factor": "2"}},
            r"rope_scaling\.factor = '2' is not allowed: it must be a number above 0",
        ),
        ({"rope_scaling": LLAMA3 | {"low_freq_factor": 0}}, "low_freq_factor = 0 is not allowed"),
        (
            {"rope_scaling": LLAMA3 | {"high_freq_factor": 1.0}},
            r"rope_scaling\.high_freq_factor = 1\.0 .* above low_freq_factor",
        ),
        ({"rope_scaling": YARN | {"beta_fast": "x"}}, r"rope_scaling\.beta_fast = 'x'"),
        ({"rope_scaling": YARN | {"factor": []}}, r"rope_scaling\.factor = \[\]"),
        ({"rope_parameters": {"rope_theta": "x"}}, r"rope_scaling\.rope_theta = 'x'"),
    ],
)
def test_a_value_that_cannot_be_is_named(
    directory: Path, fields: dict[str, Any], message: str
) -> None:
    change(directory, **fields)
    with pytest.raises(ModelInvalid, match=message):
        ModelConfig.load(directory)


@pytest.mark.parametrize(
    ("architectures", "found"),
    [
        (["MistralForCausalLM"], "MistralForCausalLM"),
        (["A", "B"], "A, B"),
        ([], "model_type 'llama'"),
        (None, "model_type 'llama'"),
        ("LlamaForCausalLM", "model_type 'llama'"),
        (5, "model_type 'llama'"),
    ],
)
def test_another_architecture_is_named_beside_those_that_run(
    directory: Path, architectures: Any, found: str
) -> None:
    change(directory, architectures=architectures)
    with pytest.raises(UnsupportedArchitecture) as unsupported:
        ModelConfig.load(directory)
    assert unsupported.value.fields == {"architecture": found, "supported": ["LlamaForCausalLM"]}
    assert found in unsupported.value.message
    assert "Supported: LlamaForCausalLM." in unsupported.value.message


def test_a_missing_model_is_unavailable_and_not_invalid(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"nowhere/config\.json is missing") as unavailable:
        ModelConfig.load(tmp_path / "nowhere")
    assert not isinstance(unavailable.value, ModelInvalid)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff\xfe{}"])
def test_a_file_that_is_no_json_object_is_named(directory: Path, content: bytes) -> None:
    (directory / "config.json").write_bytes(content)
    with pytest.raises(ModelInvalid, match=r"model/config\.json "):
        ModelConfig.load(directory)


def test_newer_files_hold_theta_and_scaling_in_one_object(directory: Path) -> None:
    parameters = {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}
    change(directory, rope_parameters=parameters, rope_scaling=None)
    newer = ModelConfig.load(directory)
    change(directory, rope_parameters=None, rope_theta=500.0, rope_scaling={"type": "linear"})
    change(directory, rope_scaling={"type": "linear", "factor": 2})
    older = ModelConfig.load(directory)
    assert (newer.rope.theta, newer.rope.kind) == (older.rope.theta, older.rope.kind)
    for one, other in zip(rope_tables(newer), rope_tables(older), strict=True):
        assert one.equal(other)
        assert one.shape == (512, 8)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"rope_scaling": {"type": "linear", "factor": 4.0}},
        {"rope_scaling": LLAMA3},
        {"rope_scaling": YARN},
        {"rope_scaling": None, "rope_parameters": YARN},
        {"rope_scaling": {"type": "yarn", "factor": 4.0}},
        {"rope_scaling": {"type": "yarn"}},
        {"rope_scaling": {"type": "yarn", "original_max_position_embeddings": 100}},
        {"rope_scaling": YARN | {"original_max_position_embeddings": None}},
    ],
)
def test_site_and_engine_agree_on_the_context_length(
    directory: Path, fields: dict[str, Any]
) -> None:
    """The one refuses a conversation by it, the other has tables for as many positions."""
    change(directory, **fields)
    config = ModelConfig.load(directory)
    codec = prompt_codec.load(directory, ModelKind.COMPLETION, "weights", "float32")
    assert codec.context_length == config.context_length
    assert rope_tables(config)[0].shape[0] == config.context_length
    assert rope_tables(config)[0].isfinite().all()


@pytest.mark.parametrize(
    "fields", [{"rope_scaling": "yarn"}, {"rope_scaling": {"type": "yarn", "factor": "4"}}]
)
def test_the_codec_names_what_is_wrong_too(directory: Path, fields: dict[str, Any]) -> None:
    change(directory, **fields)
    with pytest.raises(ModelInvalid, match="rope_scaling"):
        prompt_codec.load(directory, ModelKind.COMPLETION, "weights", "float32")
