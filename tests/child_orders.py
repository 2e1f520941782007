"""What an engine process in a test does with a request is in the request's name.

`obey` is given to `EngineProcess` and runs in its child: no Django here.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.errors import DeviceLost

if TYPE_CHECKING:
    from inference.engine import Engine, StepEvents
    from inference.runner import ModelRunner, Step

    Launch = Callable[[Any, Any], Step]

TRAP = "CUDA error: an illegal memory access was encountered"
SLOW_STEP_S = 0.01


def obey(log: bool = False, slow: bool = False) -> None:
    """ "kill-5" is ended in its fifth step, as are the other keys of ORDERS; "slow" takes a moment
    for each; "modules:<path>" writes down what is loaded. log: as the site's process logs. slow:
    every request takes a moment for each step."""
    from inference.cuda_runner import CudaRunner
    from inference.engine import Engine
    from inference.runner import ModelRunner

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if log:
        from tinyllm_site.logging import configure

        configure()
    step, init = Engine.step, ModelRunner.__init__

    def ordered_step(engine: Engine) -> StepEvents:
        events = step(engine)
        assert not any(name == "bug" for name, _ in events), "the engine's own mistake"
        return events

    def ordered_init(runner: ModelRunner, directory: Path, options: Any) -> None:
        for order, carry_out in ORDERS.items():
            if (directory / order).exists():
                carry_out()
        init(runner, directory, options)

    for runner in (ModelRunner, CudaRunner):
        runner.launch = _ordered(runner.launch, slow)  # type: ignore[method-assign, assignment]
    Engine.step = ordered_step  # type: ignore[method-assign, assignment]
    ModelRunner.__init__ = ordered_init  # type: ignore[method-assign, assignment]


def _ordered(launch: Launch, slow: bool) -> Launch:
    def ordered_launch(runner: Any, chunks: Any) -> Step:
        time.sleep(SLOW_STEP_S if slow else 0)
        for chunk in chunks:
            sequence = chunk.sequence
            token = sequence.output_length + sequence.promised + 1
            _carry_out(sequence.request.request_id, token)
        return launch(runner, chunks)

    return ordered_launch


def _carry_out(name: str, step: int) -> None:
    if name.startswith("modules:"):
        Path(name.removeprefix("modules:")).write_text(" ".join(sys.modules))
    time.sleep(SLOW_STEP_S if name.startswith("slow") else 0)
    order, _, when = name.partition("-")
    if order in ORDERS and when == str(step):
        ORDERS[order]()


def _lose_device() -> None:
    raise DeviceLost(f"the GPU is lost to its process ({TRAP})")


def _trap() -> None:
    """On the GPU itself, which refuses all that comes after."""
    import cupy

    cupy.RawKernel('extern "C" __global__ void trap() { __trap(); }', "trap")((1,), (1,), ())


ORDERS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "exit": lambda: os._exit(7),
    "lose": _lose_device,
    "trap": _trap,
}


def die_from_start(folder: Path, first: int, last: int) -> None:
    """The processes from the first-th to the last-th end at once; all are counted in `folder`."""
    (folder / str(time.monotonic_ns())).touch()
    if first <= len(list(folder.iterdir())) <= last:
        os._exit(9)
