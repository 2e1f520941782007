"""Compile a `csrc/*.cu` through CuPy and launch its kernels on torch tensors and torch's stream.

CuPy checks no arguments and knows nothing of torch: what a kernel is given is converted here and
nowhere else. A tensor becomes its address, an int 32 bits, a float 32 bits, None a null pointer.
CuPy keeps compiled code on disk, by source, options, architecture and version of the compiler.
A launch costs about 5 µs of Python, which a CUDA graph saves: run once, then capture.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

SOURCES = Path(__file__).parent / "csrc"
DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
# CuPy adds -arch and -ftz=true, and refuses to be given the latter a second time.
OPTIONS = ("-std=c++17", "-lineinfo")

Argument = torch.Tensor | int | float | None
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)


class CompileError(Exception):
    """A kernel's source was refused. The message holds the compiler's words, and with each the
    line of source that it speaks of."""


class Kernel:
    """One function of one compiled file. Called with a grid, a block and its arguments."""

    def __init__(self, raw: Any, shared_bytes: int, *, cooperative: bool) -> None:
        self._function, self._shared, self._cooperative = raw.kernel, shared_bytes, cooperative
        self._device = torch.cuda.current_device()
        if shared_bytes:  # a limit of the function, which kernels with other sizes may share
            limit = max(shared_bytes, raw.max_dynamic_shared_size_bytes)
            raw.max_dynamic_shared_size_bytes = limit

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Argument) -> None:
        """Launch on torch's current stream. A grid without blocks is nothing to do. Raises
        ValueError for a cooperative grid of more blocks than can run at once."""
        if 0 in grid:  # CuPy would run one block
            return
        if self._cooperative:  # CuPy would run fewer blocks, and warn
            self._check_residency(grid, block)
        self._function(
            grid,
            block,
            tuple([_converted(argument) for argument in arguments]),
            self._shared,
            _stream(torch._C._cuda_getCurrentRawStream(self._device)),
            self._cooperative,
        )

    @functools.lru_cache(maxsize=64)  # noqa: B019 (kernels live as long as the process)
    def resident_blocks(self, threads: int) -> int:
        """How many blocks of `threads` threads the device can run at once."""
        from cupy.cuda import driver

        each: int = driver.occupancyMaxActiveBlocksPerMultiprocessor(
            self._function.ptr, threads, self._shared
        )
        return each * torch.cuda.get_device_properties(self._device).multi_processor_count

    def _check_residency(self, grid: tuple[int, ...], block: tuple[int, ...]) -> None:
        blocks, threads = math.prod(grid), math.prod(block)
        if blocks > self.resident_blocks(threads):
            raise ValueError(
                f"{blocks} blocks of {threads} threads and {self._shared} bytes of shared memory "
                f"wait for each other, but only {self.resident_blocks(threads)} can run at once"
            )


@functools.cache
def kernel(
    file: str,
    name: str,
    dtype: torch.dtype,
    *,
    shared_bytes: int = 0,
    cooperative: bool = False,
    **constants: int,
) -> Kernel:
    """The function `name` of csrc/`file`.cu, compiled for a storage type and the current device.
    constants become macros, names in capitals. shared_bytes: dynamic shared memory of each block.
    cooperative: all blocks run at once, so that they can wait for each other. Raises CompileError.
    """
    import cupy

    module = cupy.RawModule(
        code=program(file, dtype, constants),
        options=OPTIONS,
        enable_cooperative_groups=cooperative,
    )
    try:
        raw = module.get_function(name)
    except cupy.cuda.compiler.CompileException as error:
        raise CompileError(explained(file, dtype, constants, str(error))) from error
    return Kernel(raw, shared_bytes, cooperative=cooperative)


def program(file: str, dtype: torch.dtype, constants: Mapping[str, int]) -> str:
    """The text that is compiled: the constants as macros, then csrc/`file`.cu. They are no
    options, because CuPy compiles an empty program for each new set of options, 20 ms each time
    a process starts. ASCII, because CuPy writes it to a file in the locale's encoding."""
    macros = {"DTYPE": DTYPES[dtype], **{key.upper(): constants[key] for key in sorted(constants)}}
    lines = [f"#define {key} {value}\n" for key, value in macros.items()]
    return "".join([*lines, source(file)]).encode("ascii", "replace").decode()


def source(file: str) -> str:
    """csrc/`file`.cu with its headers put in, so that a change in a header is a change in it.
    Every line keeps its file and number in what the compiler says."""
    seen: set[str] = set()

    def text_of(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        text = (SOURCES / name).read_text(encoding="utf-8").replace("#pragma once\n", "\n")
        return f'#line 1 "{name}"\n' + _INCLUDE.sub(lambda match: put(text, name, match), text)

    def put(text: str, name: str, match: re.Match[str]) -> str:
        line = text.count("\n", 0, match.start()) + 2
        return f'{text_of(match[1])}\n#line {line} "{name}"'

    return text_of(f"{file}.cu")


def explained(file: str, dtype: torch.dtype, constants: Mapping[str, int], log: str) -> str:
    """The compiler's words, which quote the source, under the name of what was compiled."""
    values = "".join(f" {key.upper()}={constants[key]}" for key in sorted(constants))
    return f"csrc/{file}.cu does not compile for {dtype},{values or ' no constants'}:\n{log}"


def _converted(argument: Argument) -> Any:
    if isinstance(argument, torch.Tensor):
        if not argument.is_cuda:
            raise ValueError(
                f"a kernel was given a tensor {list(argument.shape)} on {argument.device}: it "
                "must be on the GPU"
            )
        return argument.data_ptr()
    return _scalar(argument)


@functools.lru_cache(maxsize=4096, typed=True)
def _scalar(argument: int | float | None) -> Any:
    """The same sizes come again at every step: looking them up is faster than making them."""
    if argument is None:
        return None
    if isinstance(argument, int):
        return np.int32(argument)
    if isinstance(argument, float):
        return np.float32(argument)
    raise TypeError(
        f"a kernel takes tensors, ints, floats and None, not {type(argument).__name__} {argument!r}"
    )


@functools.lru_cache(maxsize=64)
def _stream(pointer: int) -> Any:
    import cupy

    return cupy.cuda.Stream.from_external(_StreamAt(pointer))


class _StreamAt:
    """A stream's address, in the words that CUDA's Python libraries agreed on."""

    def __init__(self, pointer: int) -> None:
        self._pointer = pointer

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._pointer
