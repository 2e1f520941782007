"""Blocks of the KV cache on their way between a device and the host, as bytes.

A block's bytes are those of a tensor [layers, 2 (k, v), kv_heads, BLOCK_SIZE, head_dim].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from inference.config import ModelConfig
from inference.kv_cache import BLOCK_SIZE
from inference.safetensors_file import TensorLayout
from kernels import CacheLayer

Array = np.ndarray[Any, np.dtype[Any]]

_WORDS = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def layout(config: ModelConfig, dtype: torch.dtype) -> TensorLayout:
    """Of one block."""
    shape = (config.layers, 2, config.kv_heads, BLOCK_SIZE, config.head_dim)
    return TensorLayout(_WORDS[dtype], shape)


@torch.inference_mode()
def read(caches: Sequence[CacheLayer], blocks: list[int]) -> Array:
    """uint8[blocks, bytes of a block] on the host, behind the steps that were launched."""
    k = caches[0].k
    index = _index(blocks, k.device)
    data = k.new_empty((len(blocks), len(caches), 2, *k.shape[1:]))
    for number, cache in enumerate(caches):
        data[:, number, 0] = cache.k[index]
        data[:, number, 1] = cache.v[index]
    if data.is_cuda:
        host = torch.empty(data.shape, dtype=data.dtype, pin_memory=True)
        host.copy_(data, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        arrived.synchronize()
        data = host
    return data.view(len(blocks), -1).view(torch.uint8).numpy()


@torch.inference_mode()
def write(caches: Sequence[CacheLayer], blocks: list[int], array: Array) -> None:
    """What `read` gave, into blocks of the same shape: before the steps that are launched next."""
    k = caches[0].k
    index = _index(blocks, k.device)
    host = torch.from_numpy(array).view(k.dtype).view(len(blocks), len(caches), 2, *k.shape[1:])
    data = host.pin_memory().to(k.device, non_blocking=True) if k.is_cuda else host
    for number, cache in enumerate(caches):
        cache.k.index_copy_(0, index, data[:, number, 0])
        cache.v.index_copy_(0, index, data[:, number, 1])


def _index(blocks: list[int], device: torch.device) -> torch.Tensor:
    index = torch.tensor(blocks, dtype=torch.int64)
    return index.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else index
