"""How fast one GPU runs models of three well-known shapes, with random weights, beside the limit,
and one row for each kernel.

Rates come from the whole engine, scheduler and sampling included; every figure is the median of
several runs. Each part runs in a process of its own: an error on a GPU ends its process.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import structlog
import torch

from inference.benchmark_shapes import SHAPES, RandomWeights, shape_config
from inference.config import ModelConfig
from inference.engine import Engine
from inference.errors import ModelInvalid
from inference.gpu_overlap import overlap
from inference.gpu_rates import (
    Plan,
    batch_rates,
    cache_size,
    decode_rates,
    first_tokens,
    memory,
    memory_growth,
    request_rate,
)
from inference.gpu_timing import Limits, measure_limits
from inference.machine import machine
from inference.token_bytes import TokenBytes

KERNELS, MODES, MEMORY = "kernels", "modes", "memory"
PARTS = (*SHAPES, KERNELS, MODES, MEMORY)


class NoText:
    """Takes the tokenizer's place in a codec: tokens only."""

    eos_ids: frozenset[int] = frozenset()
    token_bytes = TokenBytes([b""] * (1 << 18))

    def decode(self, _ids: Any) -> str:
        return ""


def _engine(name: str, plan: Plan) -> tuple[Engine, ModelConfig, Any, int]:
    """Ready, with its runner and the bytes of its weights."""
    from inference.cuda_runner import CudaRunner

    config = shape_config(name, plan.context)
    weights = RandomWeights(torch.bfloat16)
    runner = CudaRunner(config, weights, plan.options)
    runner.warm_up()
    codec: Any = NoText()
    return Engine(runner, codec, plan.options), config, runner, weights.bytes


def measure_shape(name: str, plan: Plan) -> dict[str, Any]:
    """Ours, then transformers, in one process."""
    from inference.gpu_peers import transformers_rates

    limits = measure_limits()
    torch.cuda.empty_cache()
    run: dict[str, Any] = {"model": name, "dtype": "bfloat16", "limits": asdict(limits)}
    run |= _or_failure(lambda: _ours(name, plan, limits))
    gc.collect()
    torch.cuda.empty_cache()
    config = shape_config(name, plan.context)
    run["transformers"] = _or_failure(lambda: transformers_rates(config, plan))
    return run


def _ours(name: str, plan: Plan, limits: Limits) -> dict[str, Any]:
    """What was measured until something failed, if it did."""
    start = time.perf_counter()
    engine, config, runner, weights = _engine(name, plan)
    torch.cuda.synchronize()
    ready = {"ready_s": time.perf_counter() - start, "one_token_ms": runner.one_token_ms}
    return {
        **ready,
        **_or_failure(lambda: {"first_token": first_tokens(engine, config, plan, limits)}),
        **_or_failure(lambda: {"decode": decode_rates(engine, config, plan, limits)}),
        **_or_failure(lambda: {"batches": batch_rates(engine, config, plan, limits)}),
        **_or_failure(lambda: {"requests": request_rate(engine, plan)}),
        **_or_failure(lambda: {"overlap": overlap(engine, runner, plan)}),
        "memory": {"weights": weights, "cache": cache_size(config, plan), **memory()},
    }


def measure_memory(plan: Plan) -> dict[str, Any]:
    """Of the smallest shape."""
    engine, _, runner, _ = _engine(SHAPES[0], plan)
    return {
        "model": SHAPES[0],
        "named": runner.memory,
        "rows": memory_growth(engine, plan),
    }


def measure_kernels() -> dict[str, Any]:
    from inference.kernel_benchmarks import default_sizes, kernel_rows

    limits = measure_limits()
    torch.cuda.empty_cache()
    gc.collect()
    gc.freeze()  # capturing collects garbage each time: over what there is now, 0.2 s
    return {"limits": asdict(limits), "rows": kernel_rows(default_sizes(), limits)}


def measure_modes(plan: Plan) -> dict[str, Any]:
    from inference.gpu_modes import mode_rows

    limits = measure_limits()
    torch.cuda.empty_cache()
    return {"limits": asdict(limits), "rows": mode_rows(plan, limits)}


def check_parts(names: Sequence[str]) -> None:
    """Raises ModelInvalid for a name that is no part."""
    for name in names:
        if name not in PARTS:
            raise ModelInvalid(
                f"There is no shape {name!r}; known: {', '.join(PARTS)}.", shape=name
            )


def reports(
    names: Sequence[str], plan: Plan, run: Callable[[str, Plan], dict[str, Any]] | None = None
) -> Iterator[dict[str, Any]]:
    """The report as far as it is, after each part, ready for JSON. A part that fails is in it with
    its error. run: another way to measure a part than in a process of its own."""
    check_parts(names)
    report: dict[str, Any] = {"machine": {}, "plan": asdict(plan), "runs": []}
    for name in names:
        part = _or_failure(lambda name=name: (run or _apart)(name, plan))  # type: ignore[misc]
        report["machine"] = part.pop("machine", report["machine"])
        if name in SHAPES:
            report["runs"].append({"model": name, **part})
        else:
            report[name] = part
        yield report


def _apart(name: str, plan: Plan) -> dict[str, Any]:
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as process:
        return process.submit(measure_part, name, plan).result()


def measure_part(name: str, plan: Plan) -> dict[str, Any]:
    logging.getLogger("inference").setLevel(logging.WARNING)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    measure = {
        KERNELS: measure_kernels,
        MODES: lambda: measure_modes(plan),
        MEMORY: lambda: measure_memory(plan),
    }
    part = _or_failure(measure.get(name) or (lambda: measure_shape(name, plan)))
    return {"machine": _or_failure(lambda: machine("cuda")), **part}


def _or_failure(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The other parts are still wanted."""
    try:
        return measure()
    except Exception as error:
        return {"failure": f"{type(error).__name__}: {error}"}


def write(report: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    """OUT.json and names of parts, by default all: for machines without the site."""
    from inference.gpu_tables import table

    path, names = Path(arguments[0]), tuple(arguments[1:]) or PARTS
    for report in reports(names, Plan()):
        write(report, path)
    sys.stdout.write(table(json.loads(path.read_text(encoding="utf-8"))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
