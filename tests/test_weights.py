"""Weights: every way a file can be wrong is named, and a good one is used where it lies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from inference.errors import ModelInvalid, ModelUnavailable
from inference.kv_cache import KVCache
from inference.options import EngineOptions
from inference.runner import ModelRunner
from inference.scheduler import Chunk
from inference.sequence import Sequence
from inference.types import GenerateRequest
from inference.weights import Weights, weight_files
from tests.tiny_llama import write_tensors, write_tiny_llama

OPTIONS = EngineOptions(kv_tokens=64, max_batch=2, step_tokens=32, threads=1)
PROMPT = tuple(range(40, 52))
DTYPES = ("float32", "float16", "bfloat16")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "model")


def load(directory: Path) -> ModelRunner:
    return ModelRunner(directory, OPTIONS)


def logits(runner: ModelRunner) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Of the token after PROMPT, whose last token is computed as in a decode."""
    sequence = Sequence(GenerateRequest("a", "tiny", PROMPT), 20, 0, 0)
    KVCache(runner.blocks).grow(sequence, 20)
    runner.run((Chunk(sequence, len(PROMPT) - 1),))
    sequence.computed = len(PROMPT) - 1
    row: np.ndarray[Any, np.dtype[np.float32]] = runner.run((Chunk(sequence, 1),))[0]
    return row.copy()


def rewrite(directory: Path, change: Any) -> None:
    """Write model.safetensors again after `change` was made to its dictionary of tensors."""
    tensors = load_file(directory / "model.safetensors")
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    change(tensors)
    write_tensors(directory, tensors)


# What is wrong is named


def test_a_missing_tensor_is_named(directory: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    rewrite(directory, lambda tensors: tensors.pop(name))
    with pytest.raises(ModelInvalid, match=f"the tensor {name} is missing") as invalid:
        load(directory)
    assert invalid.value.fields == {"tensor": name}
    assert str(directory) in invalid.value.message


def test_a_missing_bias_is_named(tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path / "model", attention_bias=True)
    name = "model.layers.0.self_attn.o_proj.bias"
    rewrite(directory, lambda tensors: tensors.pop(name))
    with pytest.raises(ModelInvalid, match=f"the tensor {name} is missing"):
        load(directory)


def test_extra_tensors_are_named_and_many_of_them_counted(directory: Path) -> None:
    rewrite(directory, lambda tensors: tensors.update(zz=torch.zeros(3)))
    with pytest.raises(ModelInvalid, match=r"no place for: zz\.") as invalid:
        load(directory)
    assert invalid.value.fields == {"tensors": ["zz"]}
    more = {f"z{i}": torch.zeros(1) for i in range(7)}
    rewrite(directory, lambda tensors: tensors.update(more))
    with pytest.raises(ModelInvalid, match=r"no place for: z0, z1, z2, z3, z4 and 3 more\."):
        load(directory)


def test_a_layer_more_than_the_config_says_is_extra(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    with pytest.raises(ModelInvalid, match=r"no place for: model\.layers\.1\."):
        load(directory)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("model.embed_tokens.weight", (511, 64), [512, 64]),
        ("model.layers.0.self_attn.k_proj.weight", (64, 64), [32, 64]),
        ("model.layers.1.mlp.down_proj.weight", (96, 64), [64, 96]),
        ("model.norm.weight", (64, 1), [64]),
    ],
)
def test_a_misshapen_tensor_is_named_with_both_shapes(
    directory: Path, name: str, shape: tuple[int, ...], expected: list[int]
) -> None:
    rewrite(directory, lambda tensors: tensors.update({name: torch.zeros(shape)}))
    with pytest.raises(ModelInvalid) as invalid:
        load(directory)
    error = invalid.value
    assert error.fields == {"tensor": name, "shape": list(shape), "expected": expected}
    assert f"{name} has shape {list(shape)}, but config.json asks for {expected}" in error.message


@pytest.mark.parametrize("dtype", [torch.int8, torch.float64, torch.int64], ids=str)
def test_a_precision_that_we_do_not_read_is_named(directory: Path, dtype: torch.dtype) -> None:
    name = "model.layers.0.mlp.gate_proj.weight"
    rewrite(directory, lambda tensors: tensors.update({name: tensors[name].to(dtype)}))
    with pytest.raises(ModelInvalid, match=f"{name} is stored as {dtype}; supported are float32"):
        load(directory)


def test_matrices_of_two_precisions_are_named(directory: Path) -> None:
    name, first = "model.layers.0.self_attn.k_proj.weight", "model.embed_tokens.weight"
    rewrite(directory, lambda tensors: tensors.update({name: tensors[name].half()}))
    with pytest.raises(ModelInvalid, match=rf"{name} is stored as torch\.float16, but {first} as"):
        load(directory)
    ModelRunner(directory, EngineOptions(dtype="bfloat16", kv_tokens=64, threads=1))


def test_no_weights_at_all_are_unavailable_and_not_invalid(directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match=r"model\.safetensors is missing") as unavailable:
        load(directory)
    assert not isinstance(unavailable.value, ModelInvalid)
    assert unavailable.value.fields == {"path": str(directory / "model.safetensors")}


@pytest.mark.parametrize("kept", [0, 4, 100, 2000, -1000, -1])
def test_a_truncated_file_is_named(directory: Path, kept: int) -> None:
    """Cut off in the length of the header, in the header, in the tensors."""
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelInvalid, match=r"model\.safetensors is damaged") as invalid:
        load(directory)
    assert invalid.value.fields["path"] == str(path)


def test_a_file_of_something_else_is_named(directory: Path) -> None:
    (directory / "model.safetensors").write_bytes(b"<!DOCTYPE html>" * 100)
    with pytest.raises(ModelInvalid, match=r"model\.safetensors is damaged"):
        load(directory)


# Shards


def test_shards_are_the_same_model(tmp_path: Path) -> None:
    whole = write_tiny_llama(tmp_path / "whole")
    shards = write_tiny_llama(tmp_path / "shards", sharded=True)
    assert [path.name for path in weight_files(shards)] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    assert np.array_equal(logits(load(whole)), logits(load(shards)))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path / "model", sharded=True)
    shard = directory / "model-00002-of-00002.safetensors"
    shard.unlink()
    with pytest.raises(ModelUnavailable, match=f"{shard.name} is missing") as unavailable:
        load(directory)
    assert unavailable.value.fields == {"path": str(shard)}


@pytest.mark.parametrize(
    "index", ["", "[]", "{}", '{"weight_map": 5}', '{"weight_map": {"a": 5}}', '{"weight_map": {}}']
)
def test_a_broken_index_is_named(tmp_path: Path, index: str) -> None:
    directory = write_tiny_llama(tmp_path / "model", sharded=True)
    (directory / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelInvalid, match=r"model\.safetensors\.index\.json"):
        load(directory)


def test_an_index_that_points_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path / "model", sharded=True)
    write_tiny_llama(tmp_path / "other")
    index = {"weight_map": {"a": "../other/model.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelInvalid, match=r"index\.json.*\.\./other/model\.safetensors"):
        load(directory)


# What exporters do differently


def test_a_tied_matrix_may_be_written_twice_or_under_its_other_name(directory: Path) -> None:
    expected, embedding = logits(load(directory)), "model.embed_tokens.weight"
    rewrite(directory, lambda tensors: tensors.update({"lm_head.weight": tensors[embedding] + 0}))
    assert np.array_equal(logits(load(directory)), expected)
    rewrite(directory, lambda tensors: tensors.pop(embedding))
    assert np.array_equal(logits(load(directory)), expected)


def test_buffers_of_older_exporters_are_ignored(directory: Path) -> None:
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    rewrite(directory, lambda tensors: tensors.update({name: torch.zeros(8)}))
    load(directory)


# Precisions


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_precision_is_kept_as_stored(tmp_path: Path, dtype: str) -> None:
    """Its logits are those of the same numbers in fp32: only the cache is rounded differently."""
    stored = write_tiny_llama(tmp_path / "stored", dtype=dtype)
    runner = load(stored)
    assert runner.dtype == getattr(torch, dtype)
    wide = logits(ModelRunner(stored, EngineOptions(dtype="float32", kv_tokens=64, threads=1)))
    worst = np.abs(logits(runner) - wide).max() / np.abs(wide).max()
    assert worst <= {"float32": 0, "float16": 2**-10, "bfloat16": 2**-7}[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_precision_can_be_asked_for(directory: Path, dtype: str) -> None:
    weights = Weights(directory, getattr(torch, dtype))
    assert weights.dtype == getattr(torch, dtype)
    taken = weights.take("model.norm.weight", 64)
    original = load_file(directory / "model.safetensors")["model.norm.weight"]
    assert torch.equal(taken, original.to(getattr(torch, dtype)))


# Where they lie


def mappings(path: Path) -> list[range]:
    """The addresses at which this process has mapped a file."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split()[0].split("-") for line in lines if line.endswith(str(path))]
    return [range(int(low, 16), int(high, 16)) for low, high in spans]


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_lie_in_the_mapped_file(tmp_path: Path, dtype: str) -> None:
    directory = write_tiny_llama(tmp_path / "model", dtype=dtype)
    weights = Weights(directory)
    spans = mappings(directory / "model.safetensors")
    tensor = weights.take("model.layers.0.mlp.gate_proj.weight", 96, 64)
    assert any(tensor.data_ptr() in span for span in spans)
    converted = Weights(directory, torch.float64).take("model.norm.weight", 64)
    assert not any(converted.data_ptr() in span for span in spans)


def private_bytes() -> int:
    """Memory of this process that is no file's."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_loaded_model_is_no_second_copy(tmp_path: Path, dtype: str) -> None:
    """Nor after a prompt and a token; scratch for one matrix is allowed."""
    shape: dict[str, Any] = {"hidden": 512, "intermediate": 1024, "head_dim": 64, "layers": 6}
    small = write_tiny_llama(tmp_path / "small", dtype=dtype, **shape | {"layers": 1})
    large = write_tiny_llama(tmp_path / "large", dtype=dtype, **shape)
    logits(load(small))  # compiled kernels and scratch are there now
    before = private_bytes()
    runner = load(large)
    logits(runner)
    grown = private_bytes() - before
    size = (large / "model.safetensors").stat().st_size
    assert size > 20_000_000
    assert grown < size / 4, f"{grown:,} bytes for {size:,} of weights"
