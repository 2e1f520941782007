"""Every GPU kernel compiles, without a GPU, with both NVRTCs, for Ampere and for Hopper.

A `csrc/*.cu` says at its top what it is compiled for: one line `// compile: HEAD=64 TILE=16` for
each set of constants, empty after the colon where it has none, and `// dtypes: f16 bf16` where it
is not meant for every storage type. A warning fails, and so does a spilled register.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import pytest
import torch

from inference.options import all_cores
from kernels import launch
from tests import nvrtc

TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
FILES = sorted(path.stem for path in launch.SOURCES.glob("*.cu"))
# file.cu -> why its registers may spill.
SPILLS = {
    "attention_decode.cu": "some bytes in fp32, which is for checking",
    "decode_token.cu": "some of the widest model's attention, while other warps compute",
}


@dataclass(frozen=True, slots=True)
class Job:
    """One file, as it is compiled once."""

    file: str
    dtype: torch.dtype
    constants: tuple[tuple[str, int], ...]
    nvrtc: int
    architecture: int

    @property
    def text(self) -> str:
        return launch.program(self.file, self.dtype, dict(self.constants))

    @property
    def name(self) -> str:
        values = " ".join(f"{key}={value}" for key, value in self.constants)
        return f"{self.dtype}, sm_{self.architecture}, NVRTC {self.nvrtc}, {values}"


def variants(text: str) -> list[tuple[tuple[str, int], ...]]:
    """The sets of constants in a file's `// compile:` lines."""
    lines = re.findall(r"^// compile:(.*)$", text, re.MULTILINE)
    pairs = [[word.split("=") for word in line.split()] for line in lines]
    return [tuple((name, int(value)) for name, value in line) for line in pairs]


def storage_types(text: str) -> list[torch.dtype]:
    named = re.search(r"^// dtypes:(.*)$", text, re.MULTILINE)
    return [TYPES[name] for name in (named[1].split() if named else TYPES)]


def jobs(file: str, text: str) -> Iterator[Job]:
    """The first variant with every compiler, for every architecture and storage type; the others
    once for each storage type, in turn with the older and the newer of both, which keeps this
    under a minute."""
    every = tuple(itertools.product(nvrtc.MAJORS, (80, 90)))
    older_and_newer = every[0], every[-1]
    for index, constants in enumerate(variants(text)):
        for turn, dtype in enumerate(storage_types(text), start=index):
            for compiler, architecture in every if index == 0 else (older_and_newer[turn % 2],):
                yield Job(file, dtype, constants, compiler, architecture)


@pytest.fixture(scope="module")
def complaints(pytestconfig: pytest.Config) -> Iterator[dict[Job, Future[list[str]]]]:
    """What did not change since the last run is not compiled again."""
    cache = pytestconfig.cache.mkdir("nvrtc")
    texts = {file: (launch.SOURCES / f"{file}.cu").read_text(encoding="utf-8") for file in FILES}
    every = [job for file in FILES for job in jobs(file, texts[file])]
    with nvrtc.pool(all_cores()) as pool:
        yield {
            job: pool.submit(
                nvrtc.complaints, cache, job.nvrtc, job.architecture, launch.OPTIONS, job.text
            )
            for job in every
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("file", FILES)
def test_kernel_compiles(file: str, complaints: dict[Job, Future[list[str]]]) -> None:
    own = {job: future.result() for job, future in complaints.items() if job.file == file}
    assert own, f"csrc/{file}.cu says nowhere what it is compiled for: // compile: NAME=VALUE"
    found = [f"{job.name}: {said}" for job, its in own.items() for said in its]
    if f"{file}.cu" in SPILLS:
        found = [said for said in found if " spills " not in said]
    assert found == []


def test_every_exception_is_still_needed(complaints: dict[Job, Future[list[str]]]) -> None:
    spilling = {
        f"{job.file}.cu"
        for job, future in complaints.items()
        if any(" spills " in said for said in future.result())
    }
    assert SPILLS.keys() - spilling == set()


def test_what_a_file_says_of_itself_is_read() -> None:
    text = "// compile: HEAD=64 TILE=16\n// compile:\n// dtypes: f16 bf16\nint x;\n"
    assert variants(text) == [(("HEAD", 64), ("TILE", 16)), ()]
    assert storage_types(text) == [torch.float16, torch.bfloat16]
    assert storage_types("int x;") == [torch.float32, torch.float16, torch.bfloat16]
    found = [(job.constants, job.nvrtc, job.architecture) for job in jobs("x", text)]
    first, second = (("HEAD", 64), ("TILE", 16)), ()
    assert sorted(found) == sorted(
        [(first, major, sm) for major in (12, 13) for sm in (80, 90) for _ in range(2)]
        + [(second, 12, 80), (second, 13, 90)]
    )
    assert list(jobs("x", "int x;")) == []


@pytest.mark.parametrize("major", nvrtc.MAJORS)
def test_the_compiler_is_the_one_meant(major: int) -> None:
    assert nvrtc.version(major)[0] == major


@pytest.mark.parametrize("major", nvrtc.MAJORS)
@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("x[0] = 1;", None),
        ("x[0] = y;", "y"),
        ("int unused = 1; x[0] = 1;", "warning"),
        # more numbers alive at once than a thread has registers
        (
            "float a[400]; for (int i = 0; i < 400; i++) a[i] = x[i]; __syncthreads(); "
            "for (int i = 0; i < 400; i++) x[i] = a[399 - i] * a[i];",
            "k spills",
        ),
    ],
)
def test_the_check_can_fail(major: int, body: str, complaint: str | None) -> None:
    text = f'extern "C" __global__ void __launch_bounds__(1024) k(float *x) {{\n{body}\n}}\n'
    if "400" in body:
        text = text.replace("for", "\n#pragma unroll\nfor")
    found = nvrtc.compile_text(major, 80, launch.OPTIONS, text).complaints
    assert (complaint is None) == (found == [])
    assert complaint is None or complaint in found[0]
