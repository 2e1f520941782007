"""Launches csrc/matvec.cu, the product for one token: w cut among blocks, warps and lanes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kernels import launch
from kernels.cuda.products import Epilogue
from kernels.rms_norm import Norm

_WARP = 32
_MOST_WARPS = 16
# Numbers of w in a lane's load, and how many loads of each of two rows a lane keeps under way, the
# best first: fewer leave memory idle, more need too many registers.
_VECTOR = 8
_LOADS = (4, 5, 3)
# Bytes of x in shared memory for a load, of a segment's sums, and of what the compiler adds.
_INPUT_BYTES, _SUMS_BYTES, _OWN_BYTES = 32, 8, 1024


@dataclass(frozen=True, slots=True)
class VectorShape:
    """A launch of matvec: blocks, warps of each, and loads of a row that a lane keeps under way."""

    blocks: int
    warps: int
    loads: int
    shared_bytes: int


@functools.lru_cache(maxsize=256)
def vector_shape(outputs: int, columns: int) -> VectorShape | None:
    """A block for each multiprocessor; None if x and the sums leave no room for one."""
    device = torch.cuda.get_device_properties()
    units = -(-outputs // 2)
    blocks = min(units, device.multi_processor_count)
    loads, segments = _cut(columns)
    tasks = -(-units // blocks) * segments
    shared_bytes = segments * loads * _WARP * _INPUT_BYTES + tasks * _SUMS_BYTES
    room: int = device.shared_memory_per_block_optin  # type: ignore[attr-defined]
    if shared_bytes + _OWN_BYTES > room:
        return None
    # few tasks leave warps idle, but each thread should fetch no more than one piece of x
    fetching = -(-columns // (4 * _WARP))
    return VectorShape(blocks, min(max(tasks, fetching), _MOST_WARPS), loads, shared_bytes)


def vector(
    x: torch.Tensor,
    weight: torch.Tensor,
    out: torch.Tensor,
    epilogue: Epilogue,
    *,
    norm: Norm | None = None,
    rope: Sequence[launch.Argument] = (),
    **constants: int,
) -> None:
    """x[1, K] in the weights' type, or with norm fp32. rope: the kernel's parameters after n."""
    outputs, columns = weight.shape
    shape = vector_shape(outputs, columns)
    if shape is None or x.shape[0] != 1:
        raise ValueError(
            f"matvec: {x.shape[0]} rows of {columns} numbers by weights of {outputs} rows, "
            "expected one row that fits a block's shared memory: take another way"
        )
    kernel = launch.kernel(
        "matvec",
        "matvec",
        weight.dtype,
        shared_bytes=shape.shared_bytes,
        epilogue=int(epilogue),
        norm=int(norm is not None),
        columns=columns,
        warps=shape.warps,
        loads=shape.loads,
        **constants,
    )
    normed = (None, 0.0) if norm is None else (norm.weight, norm.eps)
    block = (shape.warps * _WARP,)
    kernel((shape.blocks,), block, x, *normed, weight, out, outputs, *rope)


def fits_vector(outputs: int, columns: int) -> bool:
    """Whether `vector` takes such 16-bit weights, with and without a norm."""
    return vector_shape(outputs, columns) is not None


@functools.lru_cache(maxsize=256)
def _cut(columns: int) -> tuple[int, int]:
    """Loads of a lane for each segment of a row, and segments, so that few loads fall behind the
    row's end."""
    loads = -(-columns // (_VECTOR * _WARP))
    if loads <= 2:
        return loads, 1
    best = min(_LOADS, key=lambda each: -(-loads // each) * each)
    return best, -(-loads // best)
