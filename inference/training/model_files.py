"""A trained model as the engine reads it, and back: config.json, model.safetensors in 16 bits, and
the tokenizer's files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from inference.config import ModelConfig
from inference.errors import EngineError
from inference.precision import ConversionError, DType, LazyTensor, write_weights
from inference.training.errors import TrainingError, writing
from inference.training.model import Llama
from inference.training.tokenizer import TOKENIZER_FILES, write_json
from inference.weights import Weights

_TIED = "lm_head.weight"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What a model's folder holds beside its weights. raw: its config.json."""

    raw: dict[str, Any]
    tokenizer: Path

    @property
    def config(self) -> ModelConfig:
        return ModelConfig.from_dict(self.raw, self.tokenizer / "config.json")

    def save(self, model: Llama, directory: Path, dtype: DType = "float16") -> None:
        """Write a folder that the engine loads; whole or not at all. Raises TrainingError."""
        build = directory.with_name(f".{directory.name}.partial")
        with writing(directory):
            shutil.rmtree(build, ignore_errors=True)
            build.mkdir(parents=True)
            write_json(build / "config.json", self.raw | {"torch_dtype": dtype})
            for name in TOKENIZER_FILES:
                if (self.tokenizer / name).exists():
                    shutil.copyfile(self.tokenizer / name, build / name)
            _write(model, build / "model.safetensors", dtype)
            shutil.rmtree(directory, ignore_errors=True)
            build.rename(directory)


def _write(model: Llama, path: Path, dtype: DType) -> None:
    """Under the published names. Raises TrainingError for a value the precision cannot hold."""
    tensors = [
        LazyTensor(name, "F32", tuple(tensor.shape), tensor.detach().cpu)
        for name, tensor in _stored(model)
    ]
    try:
        write_weights(path, tensors, dtype)
    except ConversionError as error:
        raise TrainingError(f"The weights cannot be saved: {error}") from error


def load_model(directory: Path) -> Llama:
    """A model to train further, in fp32. Raises TrainingError."""
    try:
        config = ModelConfig.load(directory)
        weights = Weights(directory, torch.float32)
        model = Llama(config)
        state = {n: weights.take(n, *t.shape) for n, t in _stored(model)}
    except EngineError as error:
        raise TrainingError(error.message) from error
    model.load_state_dict(state, strict=False)
    return model


def _stored(model: Llama) -> list[tuple[str, torch.Tensor]]:
    """A tied matrix is stored once."""
    tied = model.config.tied_embeddings
    return [(n, t) for n, t in model.state_dict().items() if not (tied and n == _TIED)]
