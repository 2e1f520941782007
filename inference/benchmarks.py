"""How fast one machine runs one model, beside what its memory allows and what transformers does.

Every figure is the median of several runs, with the spread. The error of each way to compute is
measured in the same run as its speed.
"""

from __future__ import annotations

import logging
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import structlog
import torch

from inference.engine import Engine
from inference.kv_cache import KVCache
from inference.loading import load_codec
from inference.machine import machine
from inference.offline import run_to_end
from inference.options import EngineOptions
from inference.runner import ModelRunner
from inference.scheduler import Chunk
from inference.sequence import Sequence
from inference.types import GenerateRequest, ModelKind, SamplingParams
from inference.weights import weight_files

BATCHES = (1, 4, 8, 32)
PREFILL_TOKENS = 512
DECODE_TOKENS = 64
PROMPT_TOKENS = 32
RUNS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """tokens_per_s: median of `runs` runs, with the slowest and the fastest. gb_per_s: weights
    read per second (decode only). share: of the machine's read bandwidth. logit_error: rms
    difference to fp32 computing on the same weights, over the rms of the logits."""

    name: str
    tokens_per_s: float
    slowest: float
    fastest: float
    gb_per_s: float | None = None
    share: float | None = None
    logit_error: float | None = None


def latency(directory: Path, threads: tuple[int, ...], options: EngineOptions) -> dict[str, Any]:
    """The whole report, ready for JSON: a run for each number of threads, each in a process of
    its own, whose memory and thread pools no other run has touched."""
    runs = []
    for count in threads:
        with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as process:
            runs.append(process.submit(_run, directory, replace(options, threads=count)).result())
    return {"machine": machine(), "model": directory.name, "runs": runs}


def _run(directory: Path, options: EngineOptions) -> dict[str, Any]:
    torch.manual_seed(0)
    logging.getLogger("inference").setLevel(logging.WARNING)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    runner = ModelRunner(directory, options)
    runner.warm_up()
    engine = Engine(runner, load_codec(directory, ModelKind.COMPLETION, options), options)
    weight_bytes = sum(path.stat().st_size for path in weight_files(directory))
    prefill, decode = _prefill(engine), {batch: _decode(engine, batch) for batch in BATCHES}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    bandwidth = read_bandwidth()
    decode_error, prefill_error = _errors(directory, runner, options)
    rows = [_row(f"prefill {PREFILL_TOKENS}", prefill, logit_error=prefill_error)]
    for batch, rates in decode.items():
        read = statistics.median(rates) / batch * weight_bytes / 1e9
        error = decode_error if batch == 1 else None
        name = f"decode batch {batch}"
        share = read / bandwidth
        rows.append(_row(name, rates, gb_per_s=read, share=share, logit_error=error))
    rows.append(_row("transformers decode batch 1", _transformers(directory, options)))
    return {
        "threads": options.threads,
        "stored_as": str(runner.dtype).removeprefix("torch."),
        "read_bandwidth_gb_per_s": bandwidth,
        "peak_memory_gb": memory,
        "rows": [asdict(row) for row in rows],
    }


def read_bandwidth() -> float:
    """GB/s: the fastest of several sums over half a gigabyte, too much for any cache we know."""
    data = torch.ones(2**27)
    data.sum()
    seconds = [_seconds(data.sum) for _ in range(7)]
    return data.numel() * 4 / min(seconds) / 1e9


def _prefill(engine: Engine) -> list[float]:
    def once() -> float:
        request = _request(PREFILL_TOKENS, 1)
        return PREFILL_TOKENS / _seconds(lambda: run_to_end(engine, [request], _ignore))

    return _repeat(once)


def _decode(engine: Engine, batch: int) -> list[float]:
    """Tokens per second of all sequences together, prefill not counted."""

    def once() -> float:
        requests = [_request(PROMPT_TOKENS, DECODE_TOKENS + 1) for _ in range(batch)]
        for request in requests:
            engine.add(request)
        while engine.in_prefill:
            engine.step()
        return batch * DECODE_TOKENS / _seconds(lambda: run_to_end(engine, [], _ignore))

    return _repeat(once)


def _errors(directory: Path, runner: ModelRunner, options: EngineOptions) -> tuple[float, float]:
    """Relative logit error of decode and of prefill against fp32 computing throughout."""
    exact = ModelRunner(directory, EngineOptions(dtype="float32", threads=options.threads))
    tokens = torch.randint(runner.config.vocab_size, (128,)).tolist()
    expected = _last_logits(exact, tokens, at_once=True)
    found = (_last_logits(runner, tokens, at_once=at_once) for at_once in (False, True))
    scale = expected.pow(2).mean().sqrt()
    decode, prefill = (float((f - expected).pow(2).mean().sqrt() / scale) for f in found)
    return decode, prefill


def _last_logits(runner: ModelRunner, tokens: list[int], *, at_once: bool) -> torch.Tensor:
    sequence = Sequence(GenerateRequest("r", "m", tuple(tokens)), len(tokens), 0, 0)
    KVCache(runner.blocks).grow(sequence, len(tokens))
    while sequence.pending:
        length = sequence.pending if at_once else 1
        logits = runner.run((Chunk(sequence, length),))
        sequence.computed += length
    return torch.from_numpy(logits[-1]).clone()


def _transformers(directory: Path, options: EngineOptions) -> list[float]:
    """The peer: generate() of the library most people use, on the weights as they are stored."""
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(options.threads)
    model: Any = AutoModelForCausalLM.from_pretrained(directory, dtype="auto")
    prompt = torch.randint(model.config.vocab_size, (1, PROMPT_TOKENS))

    def generate(count: int) -> None:
        model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            min_new_tokens=count,
            max_new_tokens=count,
            do_sample=False,
            pad_token_id=0,
        )

    def once() -> float:
        first = _seconds(lambda: generate(1))
        return DECODE_TOKENS / (_seconds(lambda: generate(DECODE_TOKENS + 1)) - first)

    with torch.inference_mode():
        return _repeat(once, runs=3)


def _request(prompt: int, output: int) -> GenerateRequest:
    ids = torch.randint(100, 200, (prompt,)).tolist()
    sampling = SamplingParams(temperature=0, max_tokens=output, ignore_eos=True)
    return GenerateRequest(f"{time.perf_counter_ns()}", "bench", tuple(ids), sampling)


def _row(name: str, rates: list[float], **more: float | None) -> Row:
    return Row(name, statistics.median(rates), min(rates), max(rates), **more)


def _repeat(once: Callable[[], float], runs: int = RUNS) -> list[float]:
    once()
    return [once() for _ in range(runs)]


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _ignore(_: object) -> None:
    pass
