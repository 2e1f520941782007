"""Launches csrc/matmul_few.cu, matmul_transb.cu and matmul_f32.cu: blocks, tiles, shared memory."""

from __future__ import annotations

import enum
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from kernels import launch
from kernels.cuda.device import device
from kernels.rms_norm import Norm

# The most rows of x that matmul_few takes, and that it can norm by itself.
FEW_ROWS = 64
_NORMED_ROWS = 8

_WARP = 32
_MOST_WARPS = 16
# The unit of k that a part is a multiple of, and what x's rows are apart in shared memory beyond
# their padded length, so that neighbours lie on different banks.
_PART_UNIT, _GAP = 64, 32
# Bytes of a warp's step of weights, and of its sums of 16 rows and 8 tokens.
_STEP_BYTES, _SUMS_BYTES = 2048, 512


class Epilogue(enum.IntEnum):
    """What becomes of the sums, see csrc/matmul.cuh."""

    STORE = 0
    RESIDUAL = 1
    GATED = 2
    WIDE = 3
    ROPE = 4


@dataclass(frozen=True, slots=True)
class FewShape:
    """A block of matmul_few: a warp for each part of k, stages of each warp's ring, and how many
    sums of 16 rows and 8 tokens are added up between two barriers."""

    warps: int
    stages: int
    together: int
    shared_bytes: int


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile of matmul_transb: rows of w and tokens in it, those of each warp, and stages."""

    rows: int
    tokens: int
    warp_rows: int
    warp_tokens: int
    stages: int
    in_parts: bool = False

    @property
    def threads(self) -> int:
        return _WARP * (self.rows // self.warp_rows) * (self.tokens // self.warp_tokens)

    @property
    def cost(self) -> int:
        return self.rows * self.tokens + _READING * (self.rows + self.tokens)

    def number(self, rows: int, outputs: int) -> int:
        """How many make a product."""
        return -(-outputs // self.rows) * -(-rows // self.tokens)

    def shared_bytes(self, epilogue: Epilogue) -> int:
        rows = self.rows // 2 if epilogue == Epilogue.GATED else self.rows
        stages = self.stages * (self.rows + self.tokens) * _PART_UNIT * 2
        return max(stages, self.tokens * (rows + 4) * 4)


# The widest reads least for each sum, but may leave multiprocessors idle at the end.
_TILES = (
    Tile(128, 256, 64, 64, 3),
    Tile(128, 128, 64, 64, 3),
    Tile(64, 64, 32, 32, 4),
)
# Two sets of sums leave registers for half as many.
_TILES_IN_PARTS = (
    Tile(128, 128, 64, 32, 3, in_parts=True),
    Tile(128, 64, 32, 64, 4, in_parts=True),
    Tile(128, 32, 32, 32, 4, in_parts=True),
)
# What a row of w or x costs a tile that reads it, in the sums that could be made meanwhile.
_READING = 64


def part_units(columns: int) -> int:
    """How many times 64 columns make one part of k. By the shape of w alone: a sum must not
    depend on the number of rows of x."""
    return -(-columns // (_PART_UNIT * _MOST_WARPS))


@functools.lru_cache(maxsize=256)
def few_shape(columns: int, tokens: int, *, normed: bool) -> FewShape | None:
    """For `tokens` of 8, 16, 32 or 64, the deepest rings that there is room for; None if there is
    none."""
    units = -(-columns // _PART_UNIT)
    warps = -(-units // part_units(columns))
    sums = tokens // 8 * (2 if tokens > 16 else 1)
    rows_bytes = tokens * (units * _PART_UNIT + _GAP) * 2 if normed else 0
    device = torch.cuda.get_device_properties()
    room: int = device.shared_memory_per_block_optin  # type: ignore[attr-defined]
    for stages, most in ((4, 4), (3, 4), (2, 4), (2, 1)):
        together = min(sums, most)
        ring = stages * _STEP_BYTES + 2 * together * _SUMS_BYTES
        if warps * ring + rows_bytes <= room:
            return FewShape(warps, stages, together, warps * ring + rows_bytes)
    return None


def fits_few(rows: int, columns: int) -> bool:
    """Whether `few` takes so many rows."""
    tokens = _few_tokens(rows)
    return rows <= FEW_ROWS and few_shape(columns, tokens, normed=False) is not None


def can_norm(rows: int, columns: int) -> bool:
    """Whether `few` can norm them: every block does it again, and keeps the rows."""
    return rows <= _NORMED_ROWS and few_shape(columns, _NORMED_ROWS, normed=True) is not None


def few(
    x: torch.Tensor,
    weight: torch.Tensor,
    out: torch.Tensor,
    epilogue: Epilogue,
    *,
    norm: Norm | None = None,
    rope: Sequence[launch.Argument] = (),
    fp16_sums: bool = False,
    **constants: int,
) -> None:
    """As many rows as `fits_few` and, with norm, `can_norm` say. rope: the kernel's parameters
    after k."""
    (rows, columns), outputs = x.shape, weight.shape[0]
    tokens = _few_tokens(rows)
    shape = few_shape(columns, tokens, normed=norm is not None)
    if shape is None:
        raise ValueError(
            f"matmul_few: {rows} rows of {columns} numbers need more shared memory than a block "
            "of this GPU has: they must go to the tiles"
        )
    kernel = launch.kernel(
        "matmul_few",
        "matmul_few",
        weight.dtype,
        shared_bytes=shape.shared_bytes,
        tokens=tokens,
        epilogue=int(epilogue),
        norm=int(norm is not None),
        stages=shape.stages,
        round=shape.together,
        compute_f16=int(fp16_sums),
        **constants,
    )
    strip = 8 if epilogue == Epilogue.GATED else 16
    groups = -(-_width(outputs, epilogue) // (strip * (2 if tokens > 16 else 1)))
    threads = shape.warps * _WARP
    grid = (min(groups, kernel.resident_blocks(threads)),)
    normed = (None, 0.0) if norm is None else (norm.weight, norm.eps)
    kernel(grid, (threads,), x, *normed, weight, out, rows, outputs, columns, *rope)


def tiles(
    x: torch.Tensor,
    weight: torch.Tensor,
    out: torch.Tensor,
    epilogue: Epilogue,
    *,
    in_parts: bool = False,
    fp16_sums: bool = False,
) -> None:
    """Any number of rows. in_parts: sums are made as `few` makes them, to the bit."""
    (rows, columns), outputs = x.shape, weight.shape[0]
    # few tokens are bound by reading w, so that a second set of sums costs nothing
    tile = _tile(rows, outputs, in_parts=in_parts or fp16_sums or rows <= FEW_ROWS)
    kernel = launch.kernel(
        "matmul_transb",
        "matmul_transb",
        weight.dtype,
        shared_bytes=tile.shared_bytes(epilogue),
        rows=tile.rows,
        tokens=tile.tokens,
        warp_rows=tile.warp_rows,
        warp_tokens=tile.warp_tokens,
        stages=tile.stages,
        parts=int(tile.in_parts),
        epilogue=int(epilogue),
        compute_f16=int(fp16_sums),
    )
    grid = (tile.number(rows, outputs),)
    kernel(grid, (tile.threads,), x, weight, out, rows, outputs, columns, part_units(columns))


def exact(x: torch.Tensor, weight: torch.Tensor, out: torch.Tensor, epilogue: Epilogue) -> None:
    """fp32 weights, any number of rows."""
    (rows, columns), outputs = x.shape, weight.shape[0]
    kernel = launch.kernel("matmul_f32", "matmul_f32", weight.dtype, epilogue=int(epilogue))
    grid = (-(-outputs // 64), -(-rows // 64))
    kernel(grid, (256,), x, weight, out, rows, outputs, columns)


@functools.lru_cache(maxsize=1024)
def _tile(rows: int, outputs: int, *, in_parts: bool) -> Tile:
    """The one with which the busiest multiprocessor has least to do."""
    gpu = device()

    def work(tile: Tile) -> int:
        return -(-tile.number(rows, outputs) // gpu.multiprocessors) * tile.cost

    tiles = _TILES_IN_PARTS if in_parts else _TILES
    fitting = [tile for tile in tiles if tile.shared_bytes(Epilogue.STORE) <= gpu.shared_bytes]
    return min(fitting, key=work)


def _width(outputs: int, epilogue: Epilogue) -> int:
    return outputs // 2 if epilogue == Epilogue.GATED else outputs


def _few_tokens(rows: int) -> int:
    """What matmul_few is compiled for: powers of two from 8."""
    return max(8, 1 << (rows - 1).bit_length())
