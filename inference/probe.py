"""The facts about this machine that `inference/backend.py` decides by.

Nothing here raises: what cannot be found out is a fact too.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from inference.backend import Facts, Gpu

_DRIVER_FILE = Path("/proc/driver/nvidia/version")
_CUPY_NAMES = ("cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x", "cupy")
_SMI_TIMEOUT_S = 30
_PROBE = (
    "import pickle, sys; from inference.probe import probe; "
    "sys.stdout.buffer.write(pickle.dumps(probe()))"
)


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """Somebody who holds memory of a GPU, in bytes."""

    pid: int
    name: str
    memory: int


def probe(*, memory: bool = False) -> Facts:
    """A second or two: torch and CuPy are loaded. memory: ask how much is free too, which takes
    about half a gigabyte of the GPU's memory for as long as this process lives."""
    torch, torch_cuda, torch_error, gpu = _torch(memory)
    cupy, cupy_cuda, cupy_error, nvrtc = _cupy()
    return Facts(
        driver=_driver(),
        driver_cuda=_driver_cuda(),
        torch=torch,
        torch_cuda=torch_cuda,
        torch_error=torch_error,
        gpu=gpu,
        cupy=cupy,
        cupy_cuda=cupy_cuda,
        cupy_error=cupy_error,
        nvrtc=nvrtc,
    )


def probe_apart() -> Facts:
    """The same, found out by a process of its own: torch and CUDA stay out of this one. Without a
    driver nothing more is asked, and nothing is started."""
    if _driver() is None and _driver_cuda() is None:
        return Facts()
    command = [sys.executable, "-c", _PROBE]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[1])
    facts: Facts = pickle.loads(run.stdout)  # noqa: S301 (it is our own process that wrote it)
    return facts


def gpu_processes() -> list[GpuProcess]:
    """Other processes that hold memory of any GPU, as far as nvidia-smi can tell."""
    rows = (line.split(", ") for line in _smi("--query-compute-apps=pid,name,used_memory"))
    found = [
        GpuProcess(int(row[0]), row[1], int(row[2]) << 20)
        for row in rows
        if len(row) == 3 and row[0].isdigit() and row[2].isdigit()
    ]
    return [process for process in found if process.pid != os.getpid()]


def _driver() -> str | None:
    rows = _smi("--query-gpu=driver_version")
    try:
        text = rows[0] if rows else _DRIVER_FILE.read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"\b\d{3,}(\.\d+)+", text)
    return found[0] if found else None


def _driver_cuda() -> str | None:
    """The newest CUDA that the driver runs."""
    number = ctypes.c_int()
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number))
    except OSError:
        return None
    return _as_version(number.value)


def _torch(memory: bool) -> tuple[str, str | None, str, Gpu | None]:
    """Its version, its CUDA, what it said against using a GPU, and the GPU."""
    import torch

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            properties = torch.cuda.get_device_properties(torch.cuda.current_device())
            free = torch.cuda.mem_get_info()[0] if memory else None
        except (RuntimeError, AssertionError) as error:
            words = " ".join([*(str(warning.message) for warning in said), _first_line(error)])
            return torch.__version__, torch.version.cuda, words, None
    capability = (properties.major, properties.minor)
    gpu = Gpu(properties.name, capability, properties.total_memory, free)
    return torch.__version__, torch.version.cuda, "", gpu


def _cupy() -> tuple[dict[str, str], str | None, str, str | None]:
    """Its packages with their versions, its CUDA, why it cannot be used, its compiler's CUDA."""
    packages = {name: version for name in _CUPY_NAMES if (version := _version(name))}
    if not packages:
        return {}, None, "", None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of several packages, which are counted here
            import cupy

            cuda = _as_version(cupy.cuda.driver.get_build_version())
            nvrtc = "{}.{}".format(*cupy.cuda.nvrtc.getVersion())
    except Exception as error:  # whatever a broken installation raises
        return packages, None, f"{type(error).__name__}: {_first_line(error)}", None
    return packages, cuda, "", nvrtc


def _smi(query: str) -> list[str]:
    """The lines that nvidia-smi answers with; none where it cannot."""
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_SMI_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [] if run.returncode else run.stdout.splitlines()


def _as_version(number: int) -> str:
    """13020 is CUDA 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _first_line(error: Any) -> str:
    return str(error).strip().partition("\n")[0]
