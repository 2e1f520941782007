"""A whole model in another precision: what `manage.py models convert` does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from inference.gguf_convert import convert_gguf
from inference.precision import (
    SAFETENSORS_NAMES,
    ConversionError,
    DType,
    Rounding,
    safetensors_weights,
    write_weights,
)

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"


def convert(source: Path, destination: Path, dtype: DType) -> Rounding:
    """Write `source`, a model directory (sharded or not) or a GGUF file, to a new directory.

    The destination appears whole or not at all, with its weights in one file. Raises
    ConversionError, DamagedFileError or OSError.
    """
    if destination.exists():
        raise ConversionError(f"{destination} exists already: name a new directory, or remove it")
    convert_into = _converter(source, dtype)
    destination.parent.mkdir(parents=True, exist_ok=True)
    build = destination.with_name(f".{destination.name}.partial")
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir()
    try:
        rounding = convert_into(build)
        build.rename(destination)
    finally:
        shutil.rmtree(build, ignore_errors=True)
    return rounding


def store_as(directory: Path, dtype: DType) -> Rounding | None:
    """Bring a directory's weights to one file in `dtype`; None when they are that already."""
    weights = safetensors_weights(directory)
    old = sorted(directory.glob("*.safetensors"))
    wanted = SAFETENSORS_NAMES[dtype]
    if [path.name for path in old] == [_WEIGHTS] and all(
        tensor.dtype == wanted for tensor in weights if tensor.floating
    ):
        return None
    converted = directory / "converted"
    rounding = write_weights(converted, weights, dtype)
    for path in old:
        path.unlink()
    (directory / _INDEX).unlink(missing_ok=True)
    converted.rename(directory / _WEIGHTS)
    _write_config(directory / "config.json", directory, dtype)
    return rounding


def _converter(source: Path, dtype: DType) -> Callable[[Path], Rounding]:
    if source.is_file():
        return lambda build: convert_gguf(source, build, dtype=dtype)
    if not (source / "config.json").is_file():
        raise ConversionError(f"{source} is neither a GGUF file nor a directory with config.json")

    def convert_directory(build: Path) -> Rounding:
        for path in source.iterdir():
            if path.is_file() and not path.name.startswith(".") and not _is_weights(path):
                shutil.copyfile(path, build / path.name)
        _write_config(source / "config.json", build, dtype)
        return write_weights(build / _WEIGHTS, safetensors_weights(source), dtype)

    return convert_directory


def _is_weights(path: Path) -> bool:
    # Weights in other formats would be second, stale copies.
    return path.name == _INDEX or path.suffix in (".safetensors", ".bin", ".gguf", ".pt", ".pth")


def _write_config(source: Path, directory: Path, dtype: DType) -> None:
    try:
        config = json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConversionError(f"{source} is not JSON: {error}") from error
    config.pop("dtype", None)  # transformers' newer name for the same thing
    config["torch_dtype"] = dtype
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (directory / "config.json").write_text(text, encoding="utf-8")
