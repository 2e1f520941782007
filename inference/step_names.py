"""A step under the names of its requests: a line of the log, and a range that profilers show
(torch's own, and NVTX on a GPU). Only where this module's logger takes debug lines; naming hundreds
in every step would cost more than it tells."""

from __future__ import annotations

import logging
from contextlib import ExitStack

import structlog
import torch

from inference.runner import Runner, Step
from inference.scheduler import Chunk

SHOWN = 8
"""Requests whose names a range has. The line of the log has all."""

log = structlog.get_logger(__name__)
_level = logging.getLogger(__name__)


def launch(runner: Runner, chunks: tuple[Chunk, ...]) -> Step:
    """`runner.launch`, and raises as it does."""
    if not _level.isEnabledFor(logging.DEBUG):
        return runner.launch(chunks)
    names = [chunk.sequence.request.request_id for chunk in chunks]
    log.debug("engine.step", requests=names, tokens=sum(chunk.size for chunk in chunks))
    name = range_name(names)
    with ExitStack() as ranges:
        ranges.enter_context(torch.profiler.record_function(name))
        if runner.device == "cuda":
            ranges.enter_context(torch.cuda.nvtx.range(name))
        return runner.launch(chunks)


def range_name(names: list[str]) -> str:
    rest = len(names) - SHOWN
    return " ".join(["step", *names[:SHOWN], *([f"+{rest}"] if rest > 0 else [])])
