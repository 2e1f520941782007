"""What stands between torch and a compiled kernel: the text, its errors, the arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kernels import launch
from tests import nvrtc

FILES = {
    "op.cu": '// op\n#include "outer.cuh"\n#include "inner.cuh"\nint last = SIZE + inner;\n',
    "outer.cuh": '#pragma once\n#include "inner.cuh"\nconst int outer = inner;\n',
    "inner.cuh": "#pragma once\nconst int inner = 1;\n",
}


class OnGpu(torch.Tensor):
    """A tensor that says it is on a GPU, where there is none."""

    is_cuda = True


class Function:
    """What CuPy gives for a compiled kernel, to be called without a GPU."""

    def __init__(self) -> None:
        self.kernel = self
        self.max_dynamic_shared_size_bytes = 48 * 1024
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, *arguments: Any) -> None:
        self.calls.append(arguments)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(launch, "SOURCES", tmp_path)
    return tmp_path


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch._C, "_cuda_getCurrentRawStream", lambda _: 77, raising=False)
    monkeypatch.setattr(launch, "_stream", lambda pointer: f"stream {pointer}")


def places(text: str) -> dict[str, tuple[str, int]]:
    """Line of text -> the file and number that a compiler would give it."""
    found, name, number = {}, "", 0
    for line in text.splitlines():
        if line.startswith("#line"):
            _, count, quoted = line.split()
            name, number = quoted.strip('"'), int(count)
        else:
            found[line] = name, number
            number += 1
    return found


def test_headers_are_put_in_once_and_every_line_keeps_its_place(sources: Path) -> None:
    text = launch.source("op")
    assert "#include" not in text
    assert "#pragma" not in text
    assert text.count("const int inner = 1;") == 1
    found = places(text)
    assert found["// op"] == ("op.cu", 1)
    assert found["int last = SIZE + inner;"] == ("op.cu", 4)
    assert found["const int outer = inner;"] == ("outer.cuh", 3)
    assert found["const int inner = 1;"] == ("inner.cuh", 2)


def test_constants_become_macros_in_one_order_and_the_text_is_ascii(sources: Path) -> None:
    (sources / "op.cu").write_text("// 5 µs\nint x = SIZE;\n", encoding="utf-8")
    text = launch.program("op", torch.bfloat16, {"tile": 2, "SIZE": 3})
    assert text.splitlines()[:3] == ["#define DTYPE 2", "#define SIZE 3", "#define TILE 2"]
    assert text == launch.program("op", torch.bfloat16, {"SIZE": 3, "tile": 2})
    assert text.isascii()


@pytest.mark.parametrize("major", nvrtc.MAJORS)
@pytest.mark.parametrize(
    ("file", "line", "place"),
    [("op.cu", "int last = nowhere;", "op.cu(4)"), ("inner.cuh", "int i = nowhere;", "inner.cuh(")],
)
def test_a_refused_kernel_is_named_and_its_line_shown(
    major: int, file: str, line: str, place: str, sources: Path
) -> None:
    (sources / file).write_text(FILES[file].rpartition("\n")[0].rpartition("\n")[0] + f"\n{line}\n")
    constants = {"size": 4}
    text = launch.program("op", torch.float16, constants)
    log = nvrtc.compile_text(major, 90, launch.OPTIONS, text).log
    message = launch.explained("op", torch.float16, constants, log)
    for part in ("csrc/op.cu", "torch.float16", "SIZE=4", place, '"nowhere" is undefined', line):
        assert part in message


def test_arguments_become_what_a_kernel_reads() -> None:
    tensor = torch.zeros(3).as_subclass(OnGpu)
    assert launch._converted(tensor) == tensor.data_ptr()
    assert launch._converted(None) is None
    whole, fraction, one = (launch._converted(value) for value in (1, 1.0, True))
    assert (whole.dtype, fraction.dtype, one.dtype) == (np.int32, np.float32, np.int32)
    assert (whole, fraction, one) == (1, 1.0, 1)
    assert launch._converted(-(2**31)) == -(2**31)


@pytest.mark.parametrize(
    ("argument", "error", "words"),
    [
        (2**31, OverflowError, "2147483648"),
        (np.int64(3), TypeError, "not int64"),
        ("3", TypeError, "not str"),
        (torch.zeros(3, 4), ValueError, r"\[3, 4\] on cpu"),
    ],
)
def test_an_argument_that_a_kernel_cannot_read_is_refused(
    argument: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        launch._converted(argument)


def test_a_kernel_is_launched_on_torch_s_stream(gpu: None) -> None:
    function = Function()
    kernel = launch.Kernel(function, 100_000, cooperative=False)
    kernel((2, 3), (128,), 7, None)
    kernel((2, 0), (128,), 7, None)
    assert function.calls == [((2, 3), (128,), (7, None), 100_000, "stream 77", False)]


def test_shared_memory_of_a_function_only_grows(gpu: None) -> None:
    function = Function()
    limits = []
    for size in (0, 1000, 100_000, 60_000):
        launch.Kernel(function, size, cooperative=False)
        limits.append(function.max_dynamic_shared_size_bytes)
    assert limits == [48 * 1024, 48 * 1024, 100_000, 100_000]


def test_blocks_that_wait_for_each_other_must_all_have_room(
    gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.Kernel, "resident_blocks", lambda *_: 132)
    function = Function()
    kernel = launch.Kernel(function, 0, cooperative=True)
    kernel((132,), (256,))
    with pytest.raises(ValueError, match=r"133 blocks of 256 threads .* only 132 can run at once"):
        kernel((133,), (256,))
    assert len(function.calls) == 1
