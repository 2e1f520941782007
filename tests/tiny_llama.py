"""A random Llama of a few thousand parameters, as the directory that a real one comes in.

Its tokenizer has a token for every byte and, as far as the vocabulary reaches, for pairs of small
letters: any text can be written, and any answer has text, often with characters cut in two.
"""

from __future__ import annotations

import itertools
import json
import string
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
EOS_ID = SPECIAL_TOKENS.index("<|im_end|>")
FIRST_BYTE_ID = len(SPECIAL_TOKENS)
SMALLEST_VOCABULARY = FIRST_BYTE_ID + 256
SHARDS = 2
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# What every config.json made here says.
UNCHANGING: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "bos_token_id": None,
    "eos_token_id": EOS_ID,
}

Tensors = dict[str, torch.Tensor]


def write_tiny_llama(
    directory: Path,
    *,
    seed: int = 0,
    dtype: str = "float32",
    heads: int = 4,
    kv_heads: int = 2,
    head_dim: int = 16,
    hidden: int = 64,
    intermediate: int = 96,
    layers: int = 2,
    vocab: int = 512,
    tied: bool = True,
    attention_bias: bool = False,
    mlp_bias: bool = False,
    rope_scaling: dict[str, Any] | None = None,
    context: int = 512,
    sharded: bool = False,
    chat: bool = True,
) -> Path:
    """Make `directory` with config.json, model.safetensors (or two shards and their index),
    tokenizer.json and tokenizer_config.json (with a chat template if `chat`). Returns it."""
    directory.mkdir(parents=True, exist_ok=True)
    config = UNCHANGING | {
        "torch_dtype": dtype,
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "rope_scaling": rope_scaling,
        "max_position_embeddings": context,
        "tie_word_embeddings": tied,
        "attention_bias": attention_bias,
        "mlp_bias": mlp_bias,
    }
    write_json(directory / "config.json", config)
    write_tensors(directory, tiny_tensors(config, seed), sharded=sharded)
    write_tokenizer(directory, vocab, chat=chat)
    return directory


def tiny_tensors(config: dict[str, Any], seed: int) -> Tensors:
    """Random tensors for a config.json, the same for the same seed. Layers are loud enough that
    the next token depends on the whole context, not only on the last token."""
    generator = torch.Generator().manual_seed(seed)
    dtype: torch.dtype = getattr(torch, config["torch_dtype"])

    def random(*shape: int, scale: float, around: float = 0.0) -> torch.Tensor:
        return (torch.randn(shape, generator=generator) * scale + around).to(dtype)

    hidden, vocab = config["hidden_size"], config["vocab_size"]
    tensors = {
        "model.embed_tokens.weight": random(vocab, hidden, scale=0.5),
        "model.norm.weight": random(hidden, scale=0.2, around=1),
    }
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = random(vocab, hidden, scale=0.5)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}.{norm}.weight"] = random(hidden, scale=0.2, around=1)
        for name, (outputs, inputs) in _linears(config).items():
            tensors[f"{prefix}.{name}.weight"] = random(outputs, inputs, scale=2 * inputs**-0.5)
            module = "attention" if name.startswith("self_attn") else "mlp"
            if config[f"{module}_bias"]:
                tensors[f"{prefix}.{name}.bias"] = random(outputs, scale=0.5)
    return tensors


def _linears(config: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """[outputs, inputs] of a layer's matrices."""
    hidden, inner, size = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = size * config["num_attention_heads"], size * config["num_key_value_heads"]
    return {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }


def write_tensors(directory: Path, tensors: Tensors, *, sharded: bool = False) -> None:
    """As one model.safetensors, or as shards with their index."""
    if not sharded:
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for shard in range(SHARDS):
        file = f"model-{shard + 1:05}-of-{SHARDS:05}.safetensors"
        mine = names[shard::SHARDS]
        save_file({n: tensors[n] for n in mine}, directory / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(mine, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(directory / "model.safetensors.index.json", index)


def write_tokenizer(directory: Path, vocab: int, *, chat: bool) -> None:
    """tokenizer.json and tokenizer_config.json."""
    tiny_tokenizer(vocab).save(str(directory / "tokenizer.json"))
    config = {"eos_token": SPECIAL_TOKENS[EOS_ID]}
    if chat:
        config["chat_template"] = CHAT_TEMPLATE
    write_json(directory / "tokenizer_config.json", config)


def tiny_tokenizer(vocab: int) -> Tokenizer:
    """Byte-level BPE: special tokens, then the 256 bytes in order, then pairs of small letters."""
    assert vocab >= SMALLEST_VOCABULARY, f"{vocab} tokens cannot hold the special ones and bytes"
    pairs = itertools.product(string.ascii_lowercase, string.ascii_lowercase)
    merges = list(itertools.islice(pairs, vocab - SMALLEST_VOCABULARY))
    tokens = [*SPECIAL_TOKENS, *_byte_letters(), *map("".join, merges)]
    ids = {token: id for id, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in SPECIAL_TOKENS])
    return tokenizer


def _byte_letters() -> list[str]:
    """How byte-level tokenizers write the bytes 0 to 255: as themselves where that is visible."""
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = itertools.count(256)
    return [chr(byte if byte in visible else next(hidden)) for byte in range(256)]


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
