"""Threads that walk through one kernel together, meeting at barriers.

A parallel loop wakes its helpers at every start, which takes longer than a small product. Here
they are woken once for a whole pass over the model and then wait for each other by looking at a
number in memory, which takes a fraction of a microsecond.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.cpu.jit import Array, device

# Looks at the number before the core is offered to somebody else.
_PATIENCE = 20_000


class Team:
    """`size` threads, the caller being the first of them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._work: Callable[[int], None] | None = None
        self._starts = [threading.Semaphore(0) for _ in range(size - 1)]
        for member, start in enumerate(self._starts, start=1):
            served = threading.Thread(target=self._serve, args=(member, start), daemon=True)
            served.start()

    def run(self, work: Callable[[int], None]) -> None:
        """work(member) on every thread. The kernel in it must end with a meeting of all."""
        self._work = work
        self._start()
        work(0)

    def dismiss(self) -> None:
        """End the threads."""
        self._work = None
        self._start()

    def _start(self) -> None:
        for start in self._starts:
            start.release()

    def _serve(self, member: int, start: threading.Semaphore) -> None:
        while start.acquire() and (work := self._work) is not None:
            work(member)


def new_barrier() -> Array:
    """int64[16]: how many have arrived, and how often all have, on lines of the cache apart."""
    return np.zeros(16, np.int64)


@intrinsic
def _count_up(_typing: Any, _array: Any, _index: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        one = ir.IntType(64)(1)
        return builder.atomic_rmw("add", builder.gep(data, [args[1]]), one, "acq_rel")

    return types.int64(types.int64[::1], types.int64), codegen


@intrinsic
def _load(_typing: Any, _array: Any, _index: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.load_atomic(builder.gep(data, [args[1]]), "acquire", 8)

    return types.int64(types.int64[::1], types.int64), codegen


@intrinsic
def _store(_typing: Any, _array: Any, _index: Any, _value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        builder.store_atomic(args[2], builder.gep(data, [args[1]]), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64[::1], types.int64, types.int64), codegen


@intrinsic
def _offer_core(_typing: Any) -> Any:
    def codegen(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        yields = builder.module.globals.get("sched_yield") or ir.Function(
            builder.module, kind, "sched_yield"
        )
        builder.call(yields, [])
        return context.get_dummy_value()

    return types.void(), codegen


@device
def meet(team: Any) -> None:
    """Wait until all of the team (member, size, barrier) are here. What was written before is
    seen by all afterwards."""
    _, size, barrier = team
    if size == 1:
        return
    round_ = _load(barrier, 8)
    if _count_up(barrier, 0) == size - 1:
        _store(barrier, 0, 0)
        _store(barrier, 8, round_ + 1)
        return
    looks = 0
    while _load(barrier, 8) == round_:
        looks += 1
        if looks > _PATIENCE:
            _offer_core()
