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
    from inference.runner import Runner

# A GPU reads a prompt in long pieces: each costs as much as its products take to start.
GPU_STEP_TOKENS = 4096


def load_codec(directory: Path, kind: ModelKind, options: EngineOptions) -> PromptCodec:
    """Tokenizer and template of a model. Raises ModelUnavailable and its subclasses."""
    return prompt_codec.load(directory, kind, fingerprint.fingerprint(directory), options.dtype)


def load_engine(directory: Path, codec: PromptCodec, options: EngineOptions) -> Engine:
    """Bring the weights to where they are computed with, take memory for the cache, make the
    kernels ready: about a second for a small model, half a minute the first time on a machine.
    Raises ModelUnavailable and its subclasses, DeviceUnavailable."""
    from inference.engine import Engine

    runner: Runner
    if _on_gpu(options):
        options = replace(options, step_tokens=max(options.step_tokens, GPU_STEP_TOKENS))
        runner = _cuda_runner(directory, options)
    else:
        from inference.runner import ModelRunner

        runner = ModelRunner(directory, options)
    runner.warm_up()
    return Engine(runner, codec, options)


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
    from inference.device_memory import check_memory, memory_need
    from inference.weights import Weights, stored_as

    check_memory(memory_need(directory, options), torch.cuda.mem_get_info()[0])
    weights = Weights(directory, stored_as(options.dtype))
    runner = CudaRunner(ModelConfig.load(directory), weights, options)
    kernels.end_uploads()
    return runner
