"""GGUF files for tests, written with gguf's own writer from a Hugging Face state dictionary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize
from tokenizers import Tokenizer

CONTROL, NORMAL = 3, 1
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
)

_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_llama(
    path: Path,
    config: Any,
    weights: Mapping[str, torch.Tensor],
    tokenizer: Tokenizer,
    *,
    quantization: GGMLQuantizationType = GGMLQuantizationType.F32,
    architecture: str = "llama",
    pre: str = "smollm",
    more: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """`config` is a transformers LlamaConfig; `weights` carry their original names and rows."""
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    _add_tokenizer(writer, tokenizer, pre)
    for name, tensor in weights.items():
        values = tensor.float()
        if name.endswith(("q_proj.weight", "q_proj.bias")):
            values = to_gguf_rows(values, config.num_attention_heads)
        if name.endswith(("k_proj.weight", "k_proj.bias")):
            values = to_gguf_rows(values, config.num_key_value_heads)
        _add_tensor(writer, gguf_name(name), values, quantization)
    for name, tensor in (more or {}).items():
        _add_tensor(writer, name, tensor, GGMLQuantizationType.F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def to_gguf_rows(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Row by row, as the format has it: the i-th and the (i + half)-th row of a head, in turn."""
    half = rows.shape[0] // heads // 2
    order = [
        h * 2 * half + part * half + i for h in range(heads) for i in range(half) for part in (0, 1)
    ]
    return rows[order]


def gguf_name(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    if stem.startswith("model.layers."):
        _, _, layer, part = stem.split(".", 3)
        return f"blk.{layer}.{_NAMES[part]}.{kind}"
    return f"{_NAMES[stem]}.{kind}"


def _add_tensor(
    writer: GGUFWriter, name: str, values: torch.Tensor, quantization: GGMLQuantizationType
) -> None:
    array = values.contiguous().numpy().astype(np.float32)
    if array.ndim == 1 or quantization == GGMLQuantizationType.F32:
        writer.add_tensor(name, array)
    else:
        writer.add_tensor(name, quantize(array, quantization), raw_dtype=quantization)


def _add_tokenizer(writer: GGUFWriter, tokenizer: Tokenizer, pre: str) -> None:
    ids = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    model = json.loads(tokenizer.to_str())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([text for text, _ in ids])
    writer.add_token_types([CONTROL if text in special else NORMAL for text, _ in ids])
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
