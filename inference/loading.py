"""A model's directory becomes an engine."""

from __future__ import annotations

from pathlib import Path

from inference import fingerprint, prompt_codec
from inference.client import PromptCodec
from inference.engine import Engine
from inference.options import EngineOptions
from inference.runner import ModelRunner
from inference.types import ModelKind


def load_codec(directory: Path, kind: ModelKind, options: EngineOptions) -> PromptCodec:
    """Tokenizer and template of a model. Raises ModelUnavailable and its subclasses."""
    return prompt_codec.load(directory, kind, fingerprint.fingerprint(directory), options.dtype)


def load_engine(directory: Path, codec: PromptCodec, options: EngineOptions) -> Engine:
    """Map the weights, take memory for the cache, make the kernels ready: about a second for a
    small model, half a minute the first time on a machine."""
    runner = ModelRunner(directory, options)
    runner.warm_up()
    return Engine(runner, codec, options)
