"""A Llama in one GGUF file becomes a directory of config.json, safetensors and tokenizer.json.

GGUF stores the rows of the query and key projections in the order that llama.cpp's rotary
embedding wants (pairs side by side); here they go back to the order of the original weights
(first halves, then second halves).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader, ReaderTensor
from gguf.quants import dequantize

from inference.gguf_tokenizer import build_tokenizer, tokenizer_config
from inference.precision import ConversionError, DType, LazyTensor, Rounding, write_weights

ARCHITECTURES = ("llama",)
ROPE_SCALINGS = ("none", "linear")

_TOP_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert_gguf(path: Path, directory: Path, *, dtype: DType = "float16") -> Rounding:
    """Write the model in `path` into `directory`, which must exist; return the rounding error.

    The error is that of storing the dequantized values, not that of the quantization.
    Raises ConversionError, naming what is supported, for anything but a plain Llama.
    """
    try:
        reader = GGUFReader(path)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise ConversionError(f"{path.name} is not a whole GGUF file: {error}") from error
    metadata = {name: field.contents() for name, field in reader.fields.items()}
    _check_architecture(metadata.get("general.architecture"))
    config = _config(metadata, {tensor.name: tensor for tensor in reader.tensors}, dtype)
    build_tokenizer(metadata).save(str(directory / "tokenizer.json"))
    _write_json(directory / "tokenizer_config.json", tokenizer_config(metadata))
    _write_json(directory / "config.json", config)
    _write_json(
        directory / "generation_config.json",
        {key: config[key] for key in ("bos_token_id", "eos_token_id")},
    )
    template = metadata.get("tokenizer.chat_template")
    if template:
        (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
    weights = [_weight(tensor, config) for tensor in reader.tensors]
    return write_weights(directory / "model.safetensors", weights, dtype)


def unpermute(rows: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """[heads * (half, 2), ...] -> [heads * (2, half), ...]: from side by side pairs to halves."""
    half = rows.shape[0] // heads // 2
    pairs = rows.reshape(heads, half, 2, *rows.shape[1:])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def _check_architecture(architecture: object) -> None:
    if architecture not in ARCHITECTURES:
        raise ConversionError(
            f"general.architecture is {architecture!r}; supported are: {', '.join(ARCHITECTURES)}"
        )


def _config(
    metadata: Mapping[str, Any], tensors: Mapping[str, ReaderTensor], dtype: DType
) -> dict[str, Any]:
    def value(key: str, default: Any = None) -> Any:
        found = metadata.get(f"llama.{key}", default)
        if found is None:
            raise ConversionError(f"the file has no llama.{key}")
        return found

    heads, hidden = value("attention.head_count"), value("embedding_length")
    head_dim = value("attention.key_length", hidden // heads)
    rotated = value("rope.dimension_count", head_dim)
    if rotated != head_dim or value("attention.value_length", head_dim) != head_dim:
        raise ConversionError(
            f"heads of {head_dim} with {rotated} rotated: only equal sizes are supported"
        )
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": int(tensors["token_embd.weight"].shape[1]),
        "hidden_size": hidden,
        "intermediate_size": value("feed_forward_length"),
        "num_hidden_layers": value("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": value("attention.head_count_kv", heads),
        "head_dim": head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": value("context_length"),
        # Stored as float32: its shortest decimal form is the number that was meant.
        "rms_norm_eps": float(str(np.float32(value("attention.layer_norm_rms_epsilon")))),
        "rope_theta": float(value("rope.freq_base", 10000.0)),
        "rope_scaling": _rope_scaling(value, tensors),
        "attention_bias": "blk.0.attn_q.bias" in tensors,
        "mlp_bias": "blk.0.ffn_gate.bias" in tensors,
        "tie_word_embeddings": "output.weight" not in tensors,
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": _eos_ids(metadata),
        "torch_dtype": dtype,
    }


def _rope_scaling(
    value: Callable[[str, Any], Any], tensors: Mapping[str, ReaderTensor]
) -> dict[str, Any] | None:
    kind = value("rope.scaling.type", "none")
    if "rope_freqs.weight" in tensors:
        kind = "llama3"  # only its result is in the file, not the numbers it was made from
    if kind not in ROPE_SCALINGS:
        raise ConversionError(
            f"rotary scaling {kind!r} is not supported here, only {', '.join(ROPE_SCALINGS)}: "
            "use the model's original safetensors"
        )
    if kind == "none":
        return None
    return {"rope_type": "linear", "factor": float(value("rope.scaling.factor", None))}


def _eos_ids(metadata: Mapping[str, Any]) -> int | list[int] | None:
    keys = ("eos", "eot", "eom")
    found = [metadata.get(f"tokenizer.ggml.{key}_token_id") for key in keys]
    ids = list(dict.fromkeys(int(i) for i in found if i is not None))
    return ids if len(ids) > 1 else next(iter(ids), None)


def _weight(tensor: ReaderTensor, config: Mapping[str, Any]) -> LazyTensor:
    def load() -> torch.Tensor:
        values = dequantize(tensor.data, tensor.tensor_type)
        if ".attn_q." in tensor.name:
            values = unpermute(values, config["num_attention_heads"])
        elif ".attn_k." in tensor.name:
            values = unpermute(values, config["num_key_value_heads"])
        return torch.from_numpy(np.array(values, dtype=np.float32))

    # GGUF lists the fastest dimension first.
    shape = tuple(int(size) for size in reversed(tensor.shape))
    return LazyTensor(_original_name(tensor.name), "F32", shape, load)


def _original_name(name: str) -> str:
    if name in _TOP_NAMES:
        return _TOP_NAMES[name]
    block, _, rest = name.partition(".")
    layer, _, rest = rest.partition(".")
    part, _, kind = rest.partition(".")
    if block != "blk" or part not in _LAYER_NAMES or kind not in ("weight", "bias"):
        raise ConversionError(f"the tensor {name} has no place in a Llama")
    return f"model.layers.{layer}.{_LAYER_NAMES[part]}.{kind}"


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
