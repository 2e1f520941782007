"""Compiling and launching on a real GPU: arguments, streams, graphs, shared memory, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kernels import launch
from kernels.cuda.device import device, free_bytes

pytestmark = pytest.mark.gpu

SOURCE = """
extern "C" __global__ void arguments(float *out, const float *missing, int whole, float fraction,
                                     int last) {
    out[0] = whole, out[1] = fraction, out[2] = last, out[3] = missing == 0, out[4] = SIZE;
}

extern "C" __global__ void add(float *x, float y) { x[blockIdx.x] += y; }

// The last float of a block's dynamic shared memory.
extern "C" __global__ void keep(float *out, int count) {
    extern __shared__ float room[];
    room[count - 1] = count;
    __syncthreads();
    if (threadIdx.x == 0) out[blockIdx.x] = room[count - 1];
}
"""


@pytest.fixture(autouse=True)
def _sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "op.cu").write_text(SOURCE)
    (tmp_path / "bad.cu").write_text('extern "C" __global__ void f() {\nint x = nowhere;\n}\n')
    monkeypatch.setattr(launch, "SOURCES", tmp_path)


def kernel(name: str, shared_bytes: int = 0, *, cooperative: bool = False) -> launch.Kernel:
    return launch.kernel(
        "op", name, torch.float32, shared_bytes=shared_bytes, cooperative=cooperative, size=7
    )


def test_arguments_arrive_whole() -> None:
    out = torch.full((5,), torch.nan, device="cuda")
    kernel("arguments")((1,), (1,), out, None, -5, 0.25, 2**31 - 1)
    assert out.tolist() == [-5, 0.25, 2**31, 1, 7]  # 2^31 - 1 rounds up in fp32


def test_a_kernel_runs_in_the_order_of_torch_s_stream() -> None:
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        x = torch.zeros(1 << 24, device="cuda")
        for _ in range(100):
            x += 1
            kernel("add")((x.numel(),), (1,), x, 1.0)
    side.synchronize()
    assert bool((x == 200).all())


def test_a_kernel_is_captured_in_a_graph() -> None:
    x = torch.zeros(3, device="cuda")
    kernel("add")((3,), (1,), x, 1.0)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kernel("add")((3,), (1,), x, 2.0)
    for _ in range(10):
        graph.replay()
    assert x.tolist() == [21.0] * 3


def test_a_grid_without_blocks_does_nothing() -> None:
    x = torch.zeros(1, device="cuda")
    kernel("add")((0,), (1,), x, 1.0)
    assert x.tolist() == [0]


def test_shared_memory_up_to_what_the_device_has() -> None:
    out = torch.zeros(1, device="cuda")
    largest = device().shared_bytes
    big, small = kernel("keep", largest), kernel("keep", 60_000)
    for chosen, size in ((big, largest), (small, 60_000), (big, largest)):
        chosen((1,), (32,), out, size // 4)
        assert out.item() == size // 4


def test_blocks_that_wait_for_each_other() -> None:
    out = torch.zeros(100_000, device="cuda")
    chosen = kernel("keep", 100_000, cooperative=True)
    blocks = chosen.resident_blocks(256)
    assert blocks >= device().multiprocessors
    chosen((blocks,), (256,), out, 10)
    assert out.sum().item() == 10 * blocks
    with pytest.raises(ValueError, match="can run at once"):
        chosen((blocks + 1,), (256,), out, 10)


def test_a_refused_kernel_is_named_and_its_line_shown() -> None:
    with pytest.raises(launch.CompileError) as caught:
        launch.kernel("bad", "f", torch.float16, tile=4)
    for part in ("csrc/bad.cu", "torch.float16", "TILE=4", "bad.cu(2)", "int x = nowhere;"):
        assert part in str(caught.value)


def test_a_tensor_of_the_cpu_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[3\] on cpu"):
        kernel("add")((1,), (1,), torch.zeros(3), 1.0)


def test_the_device_has_limits() -> None:
    found = device()
    assert found.capability >= (8, 0)
    assert found.shared_bytes > 48 * 1024
    assert found.l2_bytes > 0
    assert 0 < free_bytes() <= torch.cuda.get_device_properties().total_memory
