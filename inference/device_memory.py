"""How much memory a model takes, reckoned before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from inference.config import ModelConfig
from inference.errors import DeviceMemoryTooSmall, ModelInvalid
from inference.kv_cache import BLOCK_SIZE
from inference.options import EngineOptions
from inference.safetensors_file import ITEM_BYTES, DamagedFileError, read_header
from inference.weights import weight_files

# On a GPU: kernels, CUDA graphs, cuBLAS' and attention's workspaces, and what an allocator cannot
# hand out.
_RESERVE = 512 << 20
# Fewer are no use: a short conversation.
FEWEST_TOKENS = 1024
_ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes. `token`: of one token's keys and values in all layers. `item`: of one number."""

    weights: int
    buffers: int
    token: int
    tokens: int
    item: int

    @property
    def cache(self) -> int:
        return self.token * self.tokens

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.buffers


def memory_need(directory: Path, options: EngineOptions, *, on_gpu: bool = True) -> MemoryNeed:
    """For a model's directory; reads config.json and the headers of the weights. Raises
    ModelUnavailable, ModelInvalid, InvalidParameter."""
    config = ModelConfig.load(directory, options.context_tokens)
    try:
        headers = [read_header(path) for path in weight_files(directory)]
    except (DamagedFileError, OSError) as error:
        raise ModelInvalid(f"{directory}: {error}.", path=str(directory)) from error
    tensors = {name: tensor for header in headers for name, tensor in header.items()}
    if config.tied_embeddings and "model.embed_tokens.weight" in tensors:
        tensors.pop("lm_head.weight", None)  # written a second time by some exporters
    numbers = sum(prod(tensor["shape"]) for tensor in tensors.values())
    stored = sum(prod(t["shape"]) * ITEM_BYTES.get(t["dtype"], 1) for t in tensors.values())
    item = _ITEM_BYTES.get(options.dtype, round(stored / max(numbers, 1)))
    return need_of(config, numbers * item, item, options, on_gpu=on_gpu)


def need_of(
    config: ModelConfig, weights: int, item: int, options: EngineOptions, *, on_gpu: bool = True
) -> MemoryNeed:
    """weights: their bytes; item: of one number of the weights, the cache and activations."""
    blocks = -(-options.kv_tokens // BLOCK_SIZE)
    kv_size = config.kv_heads * config.head_dim
    hidden = config.hidden_size * (4 + item)
    attention = 2 * (config.heads * config.head_dim + kv_size) * item
    mlp = 3 * config.intermediate_size * item
    logits = 3 * config.vocab_size * 4  # with room to sort them
    rope = config.context_length * config.head_dim * 4
    return MemoryNeed(
        weights=weights,
        buffers=_RESERVE * on_gpu
        + options.step_tokens * (hidden + attention + mlp)
        + options.max_batch * logits
        + rope,
        token=2 * config.layers * kv_size * item,
        tokens=blocks * BLOCK_SIZE,
        item=item,
    )


def check_memory(need: MemoryNeed, free: int, total: int) -> None:
    """Raises DeviceMemoryTooSmall, which says what would fit into `free` of `total` bytes."""
    if need.total > free:
        raise too_small(need, free, total)


def too_small(need: MemoryNeed, free: int, total: int) -> DeviceMemoryTooSmall:
    return DeviceMemoryTooSmall(
        needed=need.total,
        free=free,
        total=total,
        weights=need.weights,
        cache=need.cache,
        tokens=need.tokens,
        would_fit=what_fits(need, free),
    )


def what_fits(need: MemoryNeed, free: int) -> str:
    """Settings with which it fits, or an empty text."""
    half = replace(need, weights=need.weights // 2, token=need.token // 2, item=2)
    settings = {"": need, "TINYLLM_DTYPE=bfloat16": half if need.item > 2 else need}
    for setting, smaller in settings.items():
        tokens = min(need.tokens, (free - smaller.weights - smaller.buffers) // smaller.token)
        tokens = tokens // BLOCK_SIZE * BLOCK_SIZE
        if tokens >= min(need.tokens, FEWEST_TOKENS):
            fewer = f"TINYLLM_KV_TOKENS={tokens}" if tokens < need.tokens else ""
            return f"{setting} {fewer}".strip()
    return ""
