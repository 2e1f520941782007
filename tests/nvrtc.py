"""NVIDIA's run-time compiler without a GPU: the libraries of the pip packages, through ctypes.

`compile_text` gives CuPy's options, so that what compiles here compiles on a user's machine, and
asks for the report on registers and spills on top. A library compiles one program at a time,
however many threads ask: `pool` gives processes.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import os
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

MAJORS = (12, 13)
# What CuPy adds to the options it is given.
_BY_CUPY = ("-ftz=true", "--device-as-default-execution-space")
_REPORT = "--ptxas-options=-v"


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the compiler said of one program. `cubin` is empty where it was refused."""

    cubin: bytes
    log: str

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings with the lines they quote, and spilled registers."""
        if not self.cubin or "warning" in self.log:
            return [self.log]
        spilled = re.findall(r"for '?(\w+)'?\n.*?\b([1-9]\d*) bytes spill stores", self.log)
        return [f"{kernel} spills {count} bytes of registers" for kernel, count in spilled]


def compile_text(major: int, architecture: int, options: tuple[str, ...], text: str) -> Compiled:
    """Compile for sm_`architecture` with the NVRTC of CUDA `major`."""
    library, program = _library(major), ctypes.c_void_p()
    said = library.nvrtcCreateProgram(
        ctypes.byref(program), text.encode(), b"program.cu", 0, None, None
    )
    assert said == 0, f"NVRTC {major}: {said}"
    given = [*options, *_BY_CUPY, _REPORT, f"-arch=sm_{architecture}"]
    array = (ctypes.c_char_p * len(given))(*(option.encode() for option in given))
    failed = library.nvrtcCompileProgram(program, len(given), array)
    log = _fetched(library, "ProgramLog", program).rstrip(b"\0").decode()
    cubin = b"" if failed else _fetched(library, "CUBIN", program)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return Compiled(cubin, log)


def complaints(
    cache: Path, major: int, architecture: int, options: tuple[str, ...], text: str
) -> list[str]:
    """`Compiled.complaints`, which depend on the arguments and the compiler alone: asked once, they
    lie in the folder `cache`."""
    asked = repr((_path(major).stat().st_mtime_ns, major, architecture, options, _REPORT, text))
    known = cache / f"{hashlib.sha256(asked.encode()).hexdigest()}.json"
    if not known.exists():
        found = compile_text(major, architecture, options, text).complaints
        unfinished = known.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(found))
        unfinished.rename(known)
    told: list[str] = json.loads(known.read_text())
    return told


def version(major: int) -> tuple[int, int]:
    numbers = ctypes.c_int(), ctypes.c_int()
    _library(major).nvrtcVersion(*(ctypes.byref(number) for number in numbers))
    return numbers[0].value, numbers[1].value


def pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, get_context("spawn"))


def _path(major: int) -> Path:
    folders = [Path(folder) / "nvidia" for folder in sys.path]
    found = [path for folder in folders for path in folder.glob(f"*/lib/libnvrtc.so.{major}")]
    assert found, f"no NVRTC {major}: run `make install-dev`"
    return found[0]


@functools.cache
def _library(major: int) -> ctypes.CDLL:
    path = _path(major)
    # its other half is looked for by name, and not beside it
    for half in path.parent.glob(f"libnvrtc-builtins.so.{major}*"):
        ctypes.CDLL(str(half))
    return ctypes.CDLL(str(path))


def _fetched(library: ctypes.CDLL, what: str, program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    data = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{what}")(program, data)
    return data.raw
