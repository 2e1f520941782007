"""What the figures of a benchmark hold for."""

from __future__ import annotations

import platform
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from inference.options import all_cores
from inference.runner import processor

_CUPY = ("cupy-cuda12x", "cupy-cuda13x", "cupy")


def machine(device: str = "cpu") -> dict[str, Any]:
    """Of the processor, or with "cuda" of the GPU."""
    return _gpu() if device == "cuda" else _cpu()


def _cpu() -> dict[str, Any]:
    packages = ("torch", "numba", "transformers")
    return {
        "processor": processor(),
        "cores": all_cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
        "date": time.strftime("%Y-%m-%d"),
    }


def _gpu() -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "memory_gb": properties.total_memory / 1e9,
        "processor": processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cupy": next(filter(None, map(_version, _CUPY)), None),
        "transformers": _version("transformers"),
        "date": time.strftime("%Y-%m-%d"),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
