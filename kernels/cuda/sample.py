"""Launches csrc/sample.cu: a survey of all rows, then the draw where some seat draws."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

from kernels import launch
from kernels.cuda.arguments import check_arguments
from kernels.sample import SEAT, SampledRows, SamplingTable

_GROUP = 128
_BUCKETS = 2048
_SURVEYORS = 256
_LIST = 1024
# Blocks of one multiprocessor that run at once.
_SURVEYS_AT_ONCE = 6
_DRAWS_AT_ONCE = 1


@dataclass(frozen=True, slots=True)
class _Workspace:
    """What blocks of a row tell each other, see csrc/sample.cu. All but peaks and tops are zero
    between launches."""

    peaks: torch.Tensor
    tops: torch.Tensor
    done: torch.Tensor
    race: torch.Tensor
    left: torch.Tensor
    bucket_counts: torch.Tensor
    bucket_weights: torch.Tensor


def sample(logits: torch.Tensor, table: SamplingTable, rows: SampledRows) -> None:
    """See kernels.sample.sample; everything on one device. Rows that share a device must be
    sampled on one stream: they share a workspace."""
    _check(logits, table, rows)
    count, vocab = logits.shape
    if not count:
        return
    work = _workspace(logits.device, table.seats, vocab)
    decode = rows.decode
    moved = (decode.positions, decode.slots, decode.block_tables) if decode else (None,) * 3
    sizes = (decode.block_tables.shape[1], decode.block_size) if decode else (0, 1)
    common: tuple[launch.Argument, ...] = (
        *(logits, table.how, rows.seats, table.sampled, rows.context_lens, table.counts),
        *(*moved, *sizes, vocab, work.peaks, work.tops, work.done),
    )
    layout = table.layout
    grid = _grid(logits, _SURVEYORS, _SURVEYS_AT_ONCE)
    biases = (table.bias_ids, table.bias_values, layout.biases)
    _kernel("survey")(grid, (_SURVEYORS,), *common, work.race, *biases)
    if layout.draws:
        grid = _grid(logits, _LIST, _DRAWS_AT_ONCE)
        buckets = (work.bucket_counts, work.bucket_weights)
        _kernel("draw")(grid, (_LIST,), *common, work.left, *buckets)


def _kernel(name: str) -> launch.Kernel:
    return launch.kernel(
        "sample",
        name,
        torch.float32,
        group=_GROUP,
        list=_LIST,
        buckets=_BUCKETS,
        seat_bytes=SEAT.itemsize,
    )


def _grid(logits: torch.Tensor, threads: int, at_once: int) -> tuple[int, int]:
    """Blocks for each row: enough to fill the device, but each with something to read."""
    rows, vocab = logits.shape
    device = torch.cuda.get_device_properties(logits.device)
    room = max(1, device.multi_processor_count * at_once // rows)
    return min(room, -(-vocab // (4 * threads))), rows


@functools.cache
def _workspace(device: torch.device, rows: int, vocab: int) -> _Workspace:
    """A buffer for each device and size, kept: captured graphs hold its address."""

    def zeros(*shape: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.zeros(shape, dtype=dtype, device=device)

    return _Workspace(
        peaks=zeros(rows, -(-vocab // _GROUP), dtype=torch.int32),
        tops=zeros(rows, dtype=torch.int64),
        done=zeros(rows, dtype=torch.int32),
        race=zeros(rows, dtype=torch.int64),
        left=zeros(rows, dtype=torch.int64),
        bucket_counts=zeros(rows, _BUCKETS, dtype=torch.int32),
        bucket_weights=zeros(rows, _BUCKETS, dtype=torch.int64),
    )


def _check(logits: torch.Tensor, table: SamplingTable, rows: SampledRows) -> None:
    check_arguments(
        "sample",
        logits=(logits, torch.float32),
        how=(table.how, torch.uint8),
        seats=(rows.seats, torch.int32),
        context_lens=(rows.context_lens, torch.int32),
    )
    if rows.decode:
        check_arguments(
            "sample",
            logits=(logits, torch.float32),
            positions=(rows.decode.positions, torch.int64),
            slots=(rows.decode.slots, torch.int64),
            block_tables=(rows.decode.block_tables, torch.int32),
        )
