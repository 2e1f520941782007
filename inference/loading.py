"""A model's directory becomes an engine. No torch at import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from inference import fingerprint, prompt_codec
from inference.client import PromptCodec
from inference.options import EngineOptions
from inference.types import ModelKind

if TYPE_CHECKING:
    from inference.engine import Engine


def load_codec(directory: Path, kind: ModelKind, options: EngineOptions) -> PromptCodec:
    """Tokenizer and template of a model. Raises ModelUnavailable and its subclasses."""
    return prompt_codec.load(directory, kind, fingerprint.fingerprint(directory), options.dtype)


def load_engine(directory: Path, codec: PromptCodec, options: EngineOptions) -> Engine:
    """Map the weights, take memory for the cache, make the kernels ready: about a second for a
    small model, half a minute the first time on a machine."""
    from inference.engine import Engine
    from inference.runner import ModelRunner

    runner = ModelRunner(directory, options)
    runner.warm_up()
    return Engine(runner, codec, options)
