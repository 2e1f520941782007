"""One token through a whole decoder in one kernel: shapes, shared memory and buffers of
csrc/decode_token.cu."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kernels import launch
from kernels.cache_layer import CacheLayer
from kernels.cuda.device import Device, device
from kernels.decode_token import DecoderLayer
from kernels.matmul_transb import Matrices
from kernels.rms_norm import Norm
from kernels.rope_append import Rotary

# It has Hopper's copy engine fill its rings.
CAPABILITY = (9, 0)
WARPS = 8
SPAN = 128
_ENTRIES = 8
_MOST_TASKS = 512
_LARGEST_SEGMENT = 1024
_FEWEST_SLOTS, _MOST_SLOTS = 3, 32
_LARGEST_GROUP = 8
_SLOT_BARRIERS, _PARTS_BYTES = 16, 144


@dataclass(frozen=True, slots=True)
class GpuDecoder:
    """All parts of a model, on one GPU."""

    embedding: torch.Tensor
    layers: Sequence[DecoderLayer]
    caches: Sequence[CacheLayer]
    last_norm: Norm
    head: Matrices
    rotary: Rotary


@dataclass(frozen=True, slots=True)
class _Shape:
    """Sizes of a model, and of the GPU that it runs on."""

    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    vocab: int
    layers: int
    gpu: Device

    @classmethod
    def of(cls, model: GpuDecoder) -> _Shape:
        first, cache = model.layers[0], model.caches[0]
        return cls(
            hidden=first.qkv.inputs,
            inner=first.down.inputs,
            heads=first.attention_out.inputs // cache.head,
            kv_heads=cache.kv_heads,
            head=cache.head,
            vocab=model.head.outputs,
            layers=len(model.layers),
            gpu=device(),
        )

    @property
    def blocks(self) -> int:
        """One for each multiprocessor; every block must have a share of every product."""
        return min(self.gpu.multiprocessors, self.hidden // 2, self.inner // 2)

    @property
    def segment(self) -> int:
        return min(_LARGEST_SEGMENT, self.hidden)

    @property
    def own_rows(self) -> int:
        """The most rows of the residual stream that one block has."""
        return 2 * (-(-self.hidden // 2 // self.blocks) + 1)

    @property
    def _fixed_bytes(self) -> int:
        """Shared memory beside the rings."""
        group, part = self.heads // self.kv_heads, self.head + 2
        scratch = (group + 2) * self.head + WARPS * group * part
        widest = max(self.inner, self.hidden, self.heads * self.head)
        floats = widest + WARPS + self.head + self.own_rows + scratch
        table = 16 * -(-(self.layers * _ENTRIES + 1) // 2)
        return table + 8 * _MOST_TASKS + _PARTS_BYTES + 4 * floats

    @property
    def _slot_bytes(self) -> int:
        """Of all warps: two segments of 16-bit numbers, two barriers."""
        return WARPS * (4 * self.segment + _SLOT_BARRIERS)

    @property
    def slots(self) -> int:
        """Of each warp's ring: as many as there is room for."""
        room = self.gpu.shared_bytes - 1024 - self._fixed_bytes
        return min(_MOST_SLOTS, room // self._slot_bytes)

    @property
    def shared_bytes(self) -> int:
        return self._fixed_bytes + self.slots * self._slot_bytes

    def words(self, positions: int) -> int:
        """For contexts of so many positions."""
        qkv = (self.heads + 2 * self.kv_heads) * self.head
        parts = -(-positions // SPAN) * self.heads * (self.head + 2)
        return qkv + self.heads * self.head + 2 * self.hidden + self.inner + parts

    @property
    def fits(self) -> bool:
        """Whether the kernel can run it, see its preconditions."""
        return (
            self.gpu.capability >= CAPABILITY
            and self.head in (16, 32, 64, 128, 256)
            and self.heads // self.kv_heads <= _LARGEST_GROUP
            and self.hidden % 8 == self.inner % 8 == self.vocab % 2 == 0
            and self.slots >= _FEWEST_SLOTS
        )

    @property
    def constants(self) -> dict[str, int]:
        names: tuple[str, ...] = (
            "hidden",
            "inner",
            "heads",
            "kv_heads",
            "head",
            "vocab",
            "layers",
            "segment",
        )
        names += ("slots", "own_rows", "blocks")
        return {"warps": WARPS, "span": SPAN, **{name: getattr(self, name) for name in names}}


class GpuTokenDecoder:
    """A model made ready for the kernel. Holds what its addresses point to."""

    def __init__(self, model: GpuDecoder, shape: _Shape) -> None:
        gpu, layers = model.embedding.device, zip(model.layers, model.caches, strict=True)
        addresses = [a for layer, cache in layers for a in _addresses(layer, cache)]
        table = torch.tensor([*addresses, model.head.weight.data_ptr()], device=gpu)
        positions = model.rotary.cos.shape[0]
        words = torch.zeros(shape.words(positions), dtype=torch.int64, device=gpu)
        epoch = torch.ones(1, dtype=torch.int32, device=gpu)
        self._logits = torch.empty(1, shape.vocab, dtype=torch.float32, device=gpu)
        self._model, self._grid = model, (shape.blocks,)
        norm, rotary = model.last_norm, model.rotary
        self._before = (table, model.embedding, norm.weight, rotary.cos, rotary.sin, norm.eps)
        self._after = (words, epoch, self._logits)
        self._kernel = launch.kernel(
            "decode_token",
            "decode_token",
            model.embedding.dtype,
            shared_bytes=shape.shared_bytes,
            cooperative=True,
            **shape.constants,
        )

    def run(
        self, token: torch.Tensor, position: torch.Tensor, blocks: torch.Tensor
    ) -> torch.Tensor:
        """token int32[1], position int64[1], blocks int32[W] (the sequence's block table), all on
        the device -> logits fp32[1, V], the same tensor each time. The token's key and value are
        put into the cache."""
        threads = (WARPS * 32 + 32,)
        self._kernel(self._grid, threads, *self._before, token, position, blocks, *self._after)
        return self._logits


def _addresses(layer: DecoderLayer, cache: CacheLayer) -> list[int]:
    """In the order of csrc/decode_stream.cuh."""
    products = (layer.qkv, layer.attention_out, layer.gate_up, layer.down)
    weights = [part.weight for part in (*products, layer.attention_norm, layer.mlp_norm)]
    return [tensor.data_ptr() for tensor in (*weights, cache.k, cache.v)]


def gpu_token_decoder(model: GpuDecoder) -> GpuTokenDecoder | None:
    """None where the kernel cannot run the model on this GPU."""
    if model.embedding.dtype == torch.float32:
        return None
    shape = _Shape.of(model)
    return GpuTokenDecoder(model, shape) if shape.fits else None
