"""How CPU kernels are compiled, and the number formats that Numba does not know.

16-bit numbers reach a kernel as integers: uint16 holds fp16, int16 holds bf16 (numpy has neither
arithmetic for the first nor a type for the second). `widen` and `narrow` convert by the type of
the array, so that one kernel serves fp32, fp16 and bf16 storage. Sums are fp32.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.binding as llvm
import numba
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

Array = np.ndarray[Any, np.dtype[Any]]


def _use_full_vectors() -> None:
    """LLVM halves the vectors of AVX-512 machines to save clock speed; a product runs at twice
    the rate with whole ones (docs/adr/0001-cpu-products.md)."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f") and numba.config.CPU_FEATURES is None:
        numba.config.CPU_FEATURES = features.flatten() + ",-prefer-256-bit"


def _use_tbb() -> None:
    """TBB starts a parallel loop in 5 µs and may be entered from several threads. Its wheel puts
    the library where the loader does not look, so it is opened here first. Elsewhere (no wheel
    for the machine) Numba picks a layer itself."""
    library = Path(sys.prefix) / "lib" / "libtbb.so.12"
    if library.exists():
        ctypes.CDLL(str(library))
        numba.config.THREADING_LAYER = "tbb"


def _keep_by_source() -> None:
    """Compiled code is kept beside the sources, under a name made of those that others import:
    Numba itself looks for changes in the file of the outermost function only, and would go on
    using it after a helper has changed."""
    if numba.config.CACHE_DIR:
        return
    here = Path(__file__).parent
    sources = {path.stem: path.read_text(encoding="utf-8") for path in here.glob("*.py")}
    helpers = set(re.findall(r"from kernels\.cpu\.(\w+) import", "".join(sources.values())))
    digest = hashlib.sha256("".join(sources[name] for name in sorted(helpers)).encode())
    numba.config.CACHE_DIR = str(here / "__pycache__" / f"kernels-{digest.hexdigest()[:16]}")


_use_full_vectors()
_use_tbb()
_keep_by_source()


Kernel = Callable[..., None]
_Function = TypeVar("_Function", bound=Callable[..., Any])


def jit(*, parallel: bool = False) -> Callable[[Kernel], Kernel]:
    """Compile on first use, keep on disk, free the GIL while running. Sums may be reordered,
    in one way for one machine: the same input gives the same bits. A division by zero, or by
    NaN, gives what it gives in numpy: an exception would end the step of every other request."""
    compiler: Callable[[Kernel], Kernel] = numba.njit(
        nogil=True, cache=True, fastmath=True, error_model="numpy", parallel=parallel
    )
    return compiler


def device(function: _Function) -> _Function:
    """A function that only kernels call: compiled into them."""
    compiled: _Function = numba.njit(fastmath=True, error_model="numpy", nogil=True)(function)
    return compiled


def in_order(function: _Function) -> _Function:
    """A device function whose operations are done in the order they are written in. A loop that
    stores is compiled twice, in vectors and, for arrays that lie close together in memory, number
    by number: what is free to be reordered can round differently in the two."""
    flags = {"nnan", "ninf", "nsz", "contract"}
    compiled: _Function = numba.njit(fastmath=flags, error_model="numpy", nogil=True)(function)
    return compiled


def as_array(tensor: torch.Tensor) -> Array:
    """A numpy view of a CPU tensor, 16-bit floats as the integers described above."""
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy()
    array: Array = tensor.numpy()
    return array.view(np.uint16) if tensor.dtype == torch.float16 else array


@intrinsic
def _half_to_float(_typing: Any, _bits: Any) -> Any:
    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), codegen


@intrinsic
def _float_to_half(_typing: Any, _value: Any) -> Any:
    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(builder.fptrunc(args[0], ir.HalfType()), ir.IntType(16))

    return types.uint16(types.float32), codegen


@intrinsic
def _bits_to_float(_typing: Any, _bits: Any) -> Any:
    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), codegen


@intrinsic
def _float_to_bits(_typing: Any, _value: Any) -> Any:
    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), codegen


@intrinsic
def _prefetch_line(_typing: Any, array: Any, _offset: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        address = builder.gep(builder.bitcast(data, byte), [args[1]])
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        read, every_cache_level, data_cache = number(0), number(3), number(1)
        builder.call(prefetch, [address, read, every_cache_level, data_cache])
        return context.get_dummy_value()

    return types.void(array, types.int64), codegen


@device
def prefetch(array: Any, start: Any, count: Any) -> None:
    """Ask for `count` bytes from byte `start` of the array on; they may lie past its end."""
    for line in range(start, start + count, 64):
        _prefetch_line(array, line)


def widen(stored: Any) -> Any:
    """A stored number as fp32. For kernels only."""
    raise NotImplementedError


@overload(widen, strict=False)
def _widen(stored: Any) -> Any:
    if stored == types.uint16:
        return lambda stored: _half_to_float(stored)
    if stored == types.int16:
        return lambda stored: _bits_to_float(np.int32(stored) << np.int32(16))
    return lambda stored: stored


def narrow(value: Any, like: Any) -> Any:
    """fp32 to the number format of `like`, to the nearest, ties to even. For kernels only."""
    raise NotImplementedError


@overload(narrow, strict=False)
def _narrow(value: Any, like: Any) -> Any:
    if like == types.uint16:
        return lambda value, like: _float_to_half(value)
    if like == types.int16:

        def to_bfloat16(value: Any, like: Any) -> Any:
            bits = _float_to_bits(value)
            odd = (bits >> np.int32(16)) & np.int32(1)
            return np.int16((bits + np.int32(0x7FFF) + odd) >> np.int32(16))

        return to_bfloat16
    return lambda value, like: value


@device
def exp_nonpositive(x: Any) -> Any:
    """e to the x for x <= 0 in fp32, within 2 units in the last place; written without a call so
    that the loop around it is turned into vectors. From -88 down it is 0."""
    x = max(x, np.float32(-88))
    scaled = x * np.float32(1.4426950408889634)
    whole = np.floor(scaled + np.float32(0.5))
    # x - whole * ln 2 in two steps, so that the rest keeps its low bits
    rest = x - whole * np.float32(0.693359375)
    rest = rest + whole * np.float32(2.12194440e-4)
    poly = np.float32(1.9875691500e-4)
    poly = poly * rest + np.float32(1.3981999507e-3)
    poly = poly * rest + np.float32(8.3334519073e-3)
    poly = poly * rest + np.float32(4.1665795894e-2)
    poly = poly * rest + np.float32(1.6666665459e-1)
    poly = poly * rest + np.float32(5.0000001201e-1)
    poly = poly * rest * rest + rest + np.float32(1.0)
    power = max(np.int32(whole) + np.int32(127), np.int32(0))
    return poly * _bits_to_float(power << np.int32(23))
