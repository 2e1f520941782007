"""A model's directory becomes an engine. No torch at import."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from inference import fingerprint, prompt_codec
from inference.backend import choose_backend
from inference.client import PromptCodec
from inference.options import EngineOptions
from inference.probe import probe, probe_apart
from inference.types import ModelKind

if TYPE_CHECKING:
    from inference.engine import Engine
    from inference.kv_files import KVFiles, ModelFiles
    from inference.runner import Runner
    from kernels import Products

# The share of the work, once files are read, that is over when the weights are where they belong.
_BUILT = 0.5


def load_codec(directory: Path, kind: ModelKind, options: EngineOptions) -> PromptCodec:
    """Tokenizer and template of a model. Raises ModelUnavailable and its subclasses,
    InvalidParameter."""
    weights, tokens = fingerprint.fingerprint(directory), options.context_tokens
    return prompt_codec.load(directory, kind, weights, options.dtype, tokens)


def load_engine(directory: Path, codec: PromptCodec, options: EngineOptions) -> Engine:
    """`load_runner`, and the engine that drives it. Raises what that raises."""
    from inference.engine import Engine

    runner, options = load_runner(directory, options)
    return Engine(runner, codec, options)


def kv_of_model(
    files: KVFiles | None, runner: Runner, codec: PromptCodec, options: EngineOptions
) -> ModelFiles | None:
    """Where the texts of a model's sessions are kept, if anywhere: its blocks are of use where all
    of this is the same."""
    from inference import cache_blocks

    if not files or not options.reuse:
        return None

    fingerprint = {
        "weights": codec.fingerprint.weights,
        "config": repr(runner.config),
        "device": runner.device_name,
        "products": repr(products_of(options)),
    }
    return files.of_model(fingerprint, cache_blocks.layout(runner.config, runner.dtype))


def load_runner(directory: Path, options: EngineOptions) -> tuple[Runner, EngineOptions]:
    """Bring the weights to where they are computed with, take memory for the cache, make the
    kernels ready: about a second for a small model, half a minute the first time on a machine.
    Returns the options as they suit the device. Raises ModelUnavailable and its subclasses,
    DeviceUnavailable, InvalidParameter."""
    from inference.memory_budget import budget_of, suited

    gpu = on_gpu(options)
    budget = budget_of(options, gpu_memory()[1] if gpu else None)
    options, _ = suited(directory, options, on_gpu=gpu, budget=budget)
    pieces = runner_in_pieces(directory, options, on_gpu=gpu)
    while True:
        try:
            next(pieces)
        except StopIteration as done:
            return done.value, options


def runner_in_pieces(
    directory: Path, options: EngineOptions, *, on_gpu: bool
) -> Generator[float, None, Runner]:
    """What `load_runner` does, with options that suit the device. Yields between two pieces of the
    work, in which another model may run: which share of it is done."""
    import kernels

    ways = options.tuning_file and options.tuning_file.with_name("product_ways.json")
    table = kernels.WayTable.load(ways) if ways else kernels.WayTable()
    kernels.use_products(products_of(options), table)
    runner: Runner
    if on_gpu:
        runner = _cuda_runner(directory, options)
    else:
        from inference.runner import ModelRunner

        runner = ModelRunner(directory, options)
    try:
        for share in runner.preparing():
            yield _BUILT + (1 - _BUILT) * share
    except BaseException:
        runner.close()
        raise
    if ways:
        table.save(ways)
    return runner


def products_of(options: EngineOptions) -> Products:
    """How products are computed by the thread that loads a model, which is the one that runs it."""
    from kernels import Products

    return Products(options.backend, options.deterministic, options.compute == "fp16")


def on_gpu(options: EngineOptions) -> bool:
    """What is asked for by name is loaded into this process in any case, so it asks here. Raises
    DeviceUnavailable."""
    if options.device == "cpu":
        return False
    facts = probe() if options.device == "cuda" else probe_apart()
    return choose_backend(facts, options.device).name == "cuda"


def gpu_memory() -> tuple[int, int]:
    """Bytes of the current GPU that are free, and all of them."""
    import torch

    return torch.cuda.mem_get_info()


def _cuda_runner(directory: Path, options: EngineOptions) -> Runner:
    import torch

    import kernels
    from inference.config import ModelConfig
    from inference.cuda_runner import CudaRunner
    from inference.device_memory import check_memory, memory_need, too_small
    from inference.device_support import check_support
    from inference.weights import Weights, stored_as

    config = ModelConfig.load(directory, options.context_tokens)
    need = memory_need(directory, options)
    check_support(config, directory)
    check_memory(need, *gpu_memory())
    weights = Weights(directory, stored_as(options.dtype))
    try:
        runner = CudaRunner(config, weights, options)
    except torch.OutOfMemoryError as error:  # another program was faster
        raise too_small(need, *gpu_memory()) from error
    kernels.end_uploads()
    return runner
