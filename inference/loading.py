"""A model's directory becomes an engine. No torch at import."""

from __future__ import annotations

from dataclasses import replace
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

# A GPU reads a prompt in long pieces: each costs as much as its products take to start.
GPU_STEP_TOKENS = 4096


def load_codec(directory: Path, kind: ModelKind, options: EngineOptions) -> PromptCodec:
    """Tokenizer and template of a model. Raises ModelUnavailable and its subclasses,
    InvalidParameter."""
    weights, tokens = fingerprint.fingerprint(directory), options.context_tokens
    return prompt_codec.load(directory, kind, weights, options.dtype, tokens)


def load_engine(
    directory: Path, codec: PromptCodec, options: EngineOptions, files: KVFiles | None = None
) -> Engine:
    """`load_runner`, and the engine that drives it. files: where texts of sessions are kept between
    starts, if anywhere. Raises what `load_runner` raises."""
    from inference.engine import Engine

    runner, options = load_runner(directory, options)
    saved = kv_of_model(files, runner, codec, options) if files and options.reuse else None
    return Engine(runner, codec, options, saved)


def kv_of_model(
    files: KVFiles, runner: Runner, codec: PromptCodec, options: EngineOptions
) -> ModelFiles:
    """Blocks of the cache are of use where all of this is the same."""
    from inference import cache_blocks

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
    import kernels

    ways = options.tuning_file and options.tuning_file.with_name("product_ways.json")
    table = kernels.WayTable.load(ways) if ways else kernels.WayTable()
    kernels.use_products(products_of(options), table)
    runner: Runner
    if _on_gpu(options):
        options = replace(options, step_tokens=max(options.step_tokens, GPU_STEP_TOKENS))
        runner = _cuda_runner(directory, options)
    else:
        from inference.runner import ModelRunner

        runner = ModelRunner(directory, options)
    runner.warm_up()
    if ways:
        table.save(ways)
    return runner, options


def products_of(options: EngineOptions) -> Products:
    """How products are computed, for the whole process."""
    from kernels import Products

    return Products(options.backend, options.deterministic, options.compute == "fp16")


def _on_gpu(options: EngineOptions) -> bool:
    """What is asked for by name is loaded into this process in any case, so it asks here."""
    if options.device == "cpu":
        return False
    facts = probe() if options.device == "cuda" else probe_apart()
    return choose_backend(facts, options.device).name == "cuda"


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
    check_memory(need, *torch.cuda.mem_get_info())
    weights = Weights(directory, stored_as(options.dtype))
    try:
        runner = CudaRunner(config, weights, options)
    except torch.OutOfMemoryError as error:  # another program was faster
        raise too_small(need, *torch.cuda.mem_get_info()) from error
    kernels.end_uploads()
    return runner
