"""What an engine process in a test does with a request is in the request's name.

`obey` is given to `EngineProcess` and runs in its child: no Django here.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.errors import DeviceLost

if TYPE_CHECKING:
    from inference.engine import Engine, StepEvents
    from inference.runner import Array, ModelRunner

TRAP = "CUDA error: an illegal memory access was encountered"
SLOW_STEP_S = 0.01


def obey(log: bool = False, slow: bool = False) -> None:
    """ "kill-5" is ended in its fifth step, as are the other keys of ORDERS; "slow" takes a moment
    for each; "modules:<path>" writes down what is loaded. log: as the site's process logs. slow:
    every request takes a moment for each step."""
    from inference.engine import Engine
    from inference.runner import ModelRunner

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if log:
        from tinyllm_site.logging import configure

        configure()
    run, step, init = ModelRunner.run, Engine.step, ModelRunner.__init__

    def ordered_run(runner: ModelRunner, chunks: Any) -> Array:
        time.sleep(SLOW_STEP_S if slow else 0)
        for chunk in chunks:
            _carry_out(chunk.sequence.request.request_id, chunk.sequence.output_length + 1)
        return run(runner, chunks)

    def ordered_step(engine: Engine) -> StepEvents:
        events = step(engine)
        assert not any(name == "bug" for name, _ in events), "the engine's own mistake"
        return events

    def ordered_init(runner: ModelRunner, directory: Path, options: Any) -> None:
        for order, carry_out in ORDERS.items():
            if (directory / order).exists():
                carry_out()
        init(runner, directory, options)

    ModelRunner.run = ordered_run  # type: ignore[method-assign, assignment]
    Engine.step = ordered_step  # type: ignore[method-assign, assignment]
    ModelRunner.__init__ = ordered_init  # type: ignore[method-assign, assignment]


def _carry_out(name: str, step: int) -> None:
    if name.startswith("modules:"):
        Path(name.removeprefix("modules:")).write_text(" ".join(sys.modules))
    time.sleep(SLOW_STEP_S if name.startswith("slow") else 0)
    order, _, when = name.partition("-")
    if order in ORDERS and when == str(step):
        ORDERS[order]()


def _lose_device() -> None:
    raise DeviceLost(f"the GPU is lost to its process ({TRAP})")


ORDERS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "exit": lambda: os._exit(7),
    "lose": _lose_device,
}


def die_from_start(folder: Path, first: int, last: int) -> None:
    """The processes from the first-th to the last-th end at once; all are counted in `folder`."""
    (folder / str(time.monotonic_ns())).touch()
    if first <= len(list(folder.iterdir())) <= last:
        os._exit(9)
