"""Conversions: from GGUF, and between precisions. The original weights come back, or a name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGMLQuantizationType
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from inference.conversion import convert
from inference.gguf_convert import convert_gguf
from inference.precision import ConversionError, cast
from inference.safetensors_file import DamagedFileError, TensorLayout, read_header, write_file
from tests.gguf_files import TEMPLATE, write_llama
from tests.model_files import CORPUS, random_text, small_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return small_tokenizer()


def make_model(tokenizer: Tokenizer, **changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(7)
    shape: dict[str, Any] = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 128,
        "rope_theta": 5000.0,
        "tie_word_embeddings": True,
        "initializer_range": 0.3,
    }
    model = LlamaForCausalLM(LlamaConfig(**{**shape, **changes}))
    for name, parameter in model.named_parameters():
        if "bias" in name or "norm" in name:  # made as zeros and ones, which hide mistakes
            torch.nn.init.normal_(parameter, mean=1.0, std=0.3)
    model.eval()
    return model


def state(model: LlamaForCausalLM) -> dict[str, torch.Tensor]:
    tied = model.config.tie_word_embeddings
    return {k: v for k, v in model.state_dict().items() if not (tied and k == "lm_head.weight")}


@pytest.mark.parametrize(
    "changes",
    [{}, {"tie_word_embeddings": False}, {"attention_bias": True}, {"head_dim": 32}],
    ids=["tied", "untied", "bias", "head_dim"],
)
def test_gguf_gives_back_the_original_weights_and_logits(
    tmp_path: Path, tokenizer: Tokenizer, changes: dict[str, Any]
) -> None:
    model = make_model(tokenizer, **changes)
    original = state(model)
    write_llama(tmp_path / "model.gguf", model.config, original, tokenizer)
    rounding = convert_gguf(tmp_path / "model.gguf", make_dir(tmp_path), dtype="float32")
    assert rounding.error == 0
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found.keys() == original.keys()
    for name, tensor in original.items():
        assert torch.equal(found[name], tensor), name
    again = LlamaForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    ids = torch.tensor([[5, 9, 2, 77, 31, 8]])
    with torch.no_grad():
        assert torch.equal(again(ids).logits, model(ids).logits)


def make_dir(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_gguf_config_and_template(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = make_model(tokenizer)
    write_llama(tmp_path / "model.gguf", model.config, state(model), tokenizer)
    out = make_dir(tmp_path)
    convert_gguf(tmp_path / "model.gguf", out)
    config = json.loads((out / "config.json").read_text())
    expected = {
        "model_type": "llama",
        "vocab_size": tokenizer.get_vocab_size(),
        "head_dim": 16,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_theta": 5000.0,
        "rope_scaling": None,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "float16",
    }
    assert {key: config[key] for key in expected} == expected
    assert (out / "chat_template.jinja").read_text() == TEMPLATE
    generation = json.loads((out / "generation_config.json").read_text())
    assert generation == {"bos_token_id": 1, "eos_token_id": 2}
    assert AutoTokenizer.from_pretrained(out).eos_token == "<|im_end|>"


def test_quantized_gguf_is_dequantized_before_its_rows_move(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    model = make_model(tokenizer)
    kind = GGMLQuantizationType.Q8_0
    write_llama(tmp_path / "q.gguf", model.config, state(model), tokenizer, quantization=kind)
    rounding = convert_gguf(tmp_path / "q.gguf", make_dir(tmp_path))
    found = load_file(tmp_path / "out" / "model.safetensors")
    for name, tensor in state(model).items():
        # Eight bits over each block's range: at most half a step off, and fp16 on top.
        assert (found[name].float() - tensor).abs().max() <= tensor.abs().max() * 0.006, name
    assert 0 < rounding.error < 0.01
    assert rounding.tensor in found


def test_gguf_tokenizer_encodes_and_decodes_like_the_original(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    model = make_model(tokenizer)
    write_llama(tmp_path / "model.gguf", model.config, state(model), tokenizer)
    out = make_dir(tmp_path)
    convert_gguf(tmp_path / "model.gguf", out)
    found = Tokenizer.from_file(str(out / "tokenizer.json"))
    texts = [*CORPUS, *(random_text(seed) for seed in range(200)), "<|im_start|>user\nhi<|im_end|>"]
    for text in texts:
        ids = tokenizer.encode(text).ids
        assert found.encode(text).ids == ids, text
        assert found.decode(ids) == tokenizer.decode(ids)
    assert found.get_vocab() == tokenizer.get_vocab()
    assert "42" in found.get_vocab()
    assert found.encode("42").tokens == ["4", "2"]
    assert found.encode("a<|im_end|>").ids[-1] == 2
    assert found.decode([2]) == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "qwen2"}, "'qwen2'; supported are: llama"),
        ({"pre": "llama-bpe"}, "'llama-bpe'; supported are: smollm, gpt-2"),
        (
            {"more": {"blk.0.attn_sinks.weight": torch.ones(4)}},
            r"blk\.0\.attn_sinks\.weight has no",
        ),
        ({"more": {"rope_freqs.weight": torch.ones(8)}}, "rotary scaling 'llama3' is not"),
    ],
    ids=["architecture", "pre-tokenizer", "tensor", "rope"],
)
def test_unsupported_gguf_says_what_is_supported(
    tmp_path: Path, tokenizer: Tokenizer, changes: dict[str, Any], message: str
) -> None:
    model = make_model(tokenizer)
    write_llama(tmp_path / "model.gguf", model.config, state(model), tokenizer, **changes)
    with pytest.raises(ConversionError, match=message):
        convert_gguf(tmp_path / "model.gguf", make_dir(tmp_path))


def test_a_file_that_is_not_whole_gguf_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = make_model(tokenizer)
    write_llama(tmp_path / "model.gguf", model.config, state(model), tokenizer)
    whole = (tmp_path / "model.gguf").read_bytes()
    out = make_dir(tmp_path)
    for number, content in enumerate([b"", b"not a model", whole[:200], whole[:-1000]]):
        (tmp_path / f"{number}.gguf").write_bytes(content)
        with pytest.raises(ConversionError, match=rf"{number}\.gguf is not a whole GGUF file"):
            convert_gguf(tmp_path / f"{number}.gguf", out)


def source_model(directory: Path, tensors: dict[str, torch.Tensor], shards: int = 1) -> Path:
    directory.mkdir()
    (directory / "config.json").write_text('{"model_type": "llama", "dtype": "float32"}')
    (directory / "tokenizer.json").write_text("{}")
    names = sorted(tensors)
    if shards == 1:
        save_file(tensors, directory / "model.safetensors")
        return directory
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        mine = {name: tensors[name] for name in names[shard::shards]}
        save_file(mine, directory / file)
        weight_map |= dict.fromkeys(mine, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return directory


def random_tensors(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = {"a.weight": (33, 7), "b.weight": (5,), "c.weight": (2, 3, 4), "d.weight": ()}
    return {n: torch.randn(s, generator=generator).to(dtype) for n, s in shapes.items()}


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("source", [torch.float32, torch.bfloat16])
def test_precision_conversion_rounds_as_torch_does_and_reports_the_largest_error(
    tmp_path: Path, dtype: Any, source: torch.dtype, shards: int
) -> None:
    tensors = random_tensors(source)
    model = source_model(tmp_path / "in", tensors, shards)
    rounding = convert(model, tmp_path / "out", dtype)
    found = load_file(tmp_path / "out" / "model.safetensors")
    expected = {name: tensor.to(getattr(torch, dtype)) for name, tensor in tensors.items()}
    assert found.keys() == expected.keys()
    errors = {}
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
        errors[name] = (tensor.double() - tensors[name].double()).abs().max().item()
    assert rounding.error == pytest.approx(max(errors.values()), rel=1e-6)
    if rounding.error:
        assert errors[rounding.tensor] == max(errors.values())
        assert rounding.tensor in str(rounding)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config == {"model_type": "llama", "torch_dtype": dtype}


def test_overflow_is_refused_by_name_and_leaves_nothing(tmp_path: Path) -> None:
    tensors = random_tensors() | {"big.weight": torch.tensor([1.0, -70000.0])}
    model = source_model(tmp_path / "in", tensors)
    with pytest.raises(ConversionError, match=r"big\.weight holds -70000, which float16 cannot"):
        convert(model, tmp_path / "out", "float16")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert convert(model, tmp_path / "out", "bfloat16").tensor == "big.weight"


def test_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ConversionError, match="x holds nan"):
        cast("x", torch.tensor([1.0, torch.nan]), "float32")


def test_integers_stay_as_they_are(tmp_path: Path) -> None:
    tensors = random_tensors() | {"ids": torch.arange(5)}
    convert(source_model(tmp_path / "in", tensors), tmp_path / "out", "float16")
    assert torch.equal(load_file(tmp_path / "out" / "model.safetensors")["ids"], torch.arange(5))


def test_gguf_input_is_converted_too(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = make_model(tokenizer)
    write_llama(tmp_path / "model.gguf", model.config, state(model), tokenizer)
    convert(tmp_path / "model.gguf", tmp_path / "out", "bfloat16")
    header = read_header(tmp_path / "out" / "model.safetensors")
    assert {entry["dtype"] for entry in header.values()} == {"BF16"}


def test_a_destination_that_exists_is_not_touched(tmp_path: Path) -> None:
    model = source_model(tmp_path / "in", random_tensors())
    (tmp_path / "out").mkdir()
    with pytest.raises(ConversionError, match="out exists already"):
        convert(model, tmp_path / "out", "float16")
    assert list((tmp_path / "out").iterdir()) == []


def test_truncated_weights_are_not_converted(tmp_path: Path) -> None:
    model = source_model(tmp_path / "in", random_tensors())
    content = (model / "model.safetensors").read_bytes()
    for cut in (4, 40, len(content) - 1):
        (model / "model.safetensors").write_bytes(content[:cut])
        with pytest.raises(DamagedFileError, match=r"model\.safetensors"):
            convert(model, tmp_path / "out", "float16")


def test_the_writer_refuses_tensors_that_are_not_the_announced_ones(tmp_path: Path) -> None:
    layouts = {"a": TensorLayout("F32", (2,))}
    with pytest.raises(ValueError, match="a has 4 bytes where a of 8 was due"):
        write_file(tmp_path / "x", layouts, [("a", memoryview(b"1234"))])
