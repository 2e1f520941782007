"""What the engine computes on and why, for machines that are made up, and how doctor tells it."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import translation

from inference import backend, probe
from inference.backend import Facts, Gpu, choose_backend
from inference.errors import DeviceUnavailable, InvalidParameter
from inference.management.commands import doctor
from inference.options import DEVICES, EngineOptions
from inference.probe import GpuProcess
from tests.tiny_llama import write_tiny_llama

H100 = Gpu("NVIDIA H100 80GB HBM3", (9, 0), memory_total=85_000_000_000, memory_free=80 * 10**9)
FITS = Facts(
    driver="580.95.05",
    driver_cuda="13.0",
    torch="2.13.0+cu130",
    torch_cuda="13.0",
    gpu=H100,
    cupy={"cupy-cuda13x": "14.2.0"},
    cupy_cuda="13.2",
    nvrtc="13.0",
)
# What is different -> a piece of why the CPU computes, a piece of what to do.
MISFITS: list[tuple[dict[str, Any], str, str]] = [
    ({"driver": None, "driver_cuda": None}, "no NVIDIA driver was found", "580 or newer"),
    (
        {"driver": None, "driver_cuda": None, "torch_cuda": "12.6"},
        "no NVIDIA driver was found",
        "525 or newer",
    ),
    (
        {"torch": "2.13.0+cpu", "torch_cuda": None},
        "torch 2.13.0+cpu was built without CUDA",
        "make clean",
    ),
    (
        {"driver": "550.54.14", "driver_cuda": "12.4", "gpu": None},
        "the driver 550.54.14 runs CUDA 12.4, and torch was built for CUDA 13.0",
        "driver 580 or newer",
    ),
    (
        {"gpu": None, "torch_error": "No CUDA GPUs are available"},
        "No CUDA GPUs are available",
        "CUDA_VISIBLE_DEVICES",
    ),
    (
        {"gpu": replace(H100, name="Tesla T4", capability=(7, 5))},
        "Tesla T4 has compute capability 7.5, and the kernels need 8.0",
        "Ampere",
    ),
    ({"cupy": {}, "cupy_cuda": None}, "CuPy is not installed", "requirements-cuda13.txt"),
    (
        {"cupy": {"cupy-cuda12x": "14.2.0", "cupy-cuda13x": "14.2.0"}},
        "more than one CuPy is installed: cupy-cuda12x, cupy-cuda13x",
        "make clean",
    ),
    (
        {"cupy_cuda": None, "cupy_error": "ImportError: libnvrtc.so.13"},
        "CuPy cannot be used: ImportError: libnvrtc.so.13",
        "make clean",
    ),
    (
        {"cupy": {"cupy-cuda12x": "14.2.0"}, "cupy_cuda": "12.9"},
        "CuPy was built for CUDA 12.9, and torch for CUDA 13.0",
        "make clean",
    ),
    ({"nvrtc": "12.6"}, "compiler (NVRTC) of CUDA 12.6, not of 13.0", "make clean"),
]


@pytest.mark.parametrize(
    "facts",
    [
        FITS,
        replace(FITS, driver=None),
        replace(FITS, driver="600.1", driver_cuda="14.0"),
        replace(FITS, gpu=replace(H100, capability=(8, 0))),
        replace(FITS, torch_cuda="12.6", cupy_cuda="12.9", nvrtc="12.9"),
    ],
)
def test_the_gpu_computes_where_everything_fits(facts: Facts) -> None:
    for device in ("auto", "cuda"):
        chosen = choose_backend(facts, device)
        assert chosen.name == "cuda"
        assert "NVIDIA H100" in str(chosen.reason)


@pytest.mark.parametrize(("different", "why", "remedy"), MISFITS)
def test_the_cpu_computes_where_something_does_not_fit(
    different: dict[str, Any], why: str, remedy: str
) -> None:
    facts = replace(FITS, **different)
    chosen = choose_backend(facts)
    assert chosen.name == "cpu"
    assert why in str(chosen.reason)
    assert remedy in chosen.reason.remedy % chosen.reason.fields
    with pytest.raises(DeviceUnavailable) as caught:
        choose_backend(facts, "cuda")
    assert why in caught.value.message
    assert remedy in caught.value.message


def test_the_cpu_computes_where_it_is_asked_for() -> None:
    for facts in (FITS, Facts()):
        assert choose_backend(facts, "cpu").name == "cpu"
    assert EngineOptions(device="cuda").device == "cuda"
    with pytest.raises(InvalidParameter, match=r"device = .gpu. .* one of auto, cpu, cuda"):
        EngineOptions(device="gpu")


def test_this_machine_can_be_asked() -> None:
    facts = probe.probe()
    assert facts.torch
    assert choose_backend(facts).name in DEVICES
    assert all(process.memory >= 0 for process in probe.gpu_processes())


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An nvidia-smi that answers with the text of a file."""
    answer = tmp_path / "answer"
    script = tmp_path / "nvidia-smi"
    script.write_text(f"#!/bin/sh\n[ -s {answer} ] && exec cat {answer}\necho failed; exit 9\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return answer


def test_nvidia_smi_is_read_and_may_fail(smi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_DRIVER_FILE", smi.parent / "version")
    assert probe._driver() is None
    (smi.parent / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  575.57.08  Release Build\n"
        "GCC version:  gcc version 12.3.0\n"
    )
    assert probe._driver() == "575.57.08"
    smi.write_text("580.95.05\n580.95.05\n")
    assert probe._driver() == "580.95.05"
    assert probe.gpu_processes() == []
    smi.write_text("4711, /usr/bin/other, 2048\n12, python, [N/A]\n")
    assert probe.gpu_processes() == [GpuProcess(4711, "/usr/bin/other", 2 << 30)]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> None:
    """A machine with an H100 that someone else uses too, and a default model."""
    settings.TINYLLM_DEVICE, settings.TINYLLM_MODELS_DIR = "auto", tmp_path
    write_tiny_llama(tmp_path / "chat")
    monkeypatch.setattr(doctor, "gpu_processes", lambda: [GpuProcess(4711, "trainer", 10**10)])
    on(monkeypatch, FITS)


def on(monkeypatch: pytest.MonkeyPatch, facts: Facts) -> None:
    monkeypatch.setattr(doctor, "probe", lambda *, memory: facts)


def said(*arguments: str) -> str:
    out = io.StringIO()
    call_command("doctor", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.usefixtures("machine")
def test_doctor_tells_what_it_found() -> None:
    text = said("--expect", "cuda")
    for line in (
        "GPU       NVIDIA H100 80GB HBM3, compute capability 9.0, 80.0 GB of 85.0 GB free",
        "Driver    580.95.05, runs CUDA 13.0",
        "torch     2.13.0+cu130, built for CUDA 13.0",
        "CuPy      cupy-cuda13x 14.2.0, built for CUDA 13.2",
        "Compiler  NVRTC 13.0",
        "GPU, because everything that is needed is there: NVIDIA H100 80GB HBM3, CUDA 13.0.",
        "Process 4711 (trainer) holds 10.0 GB of the GPU's memory.",
    ):
        assert line in text.splitlines()
    assert "weights" in text
    assert "Only" not in text


@pytest.mark.usefixtures("machine")
def test_doctor_tells_when_the_default_model_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    on(monkeypatch, replace(FITS, gpu=replace(H100, memory_free=640 * 10**6)))
    assert "Only" not in said()  # the cache is as large as there is room
    settings.TINYLLM_KV_TOKENS = 10**6
    assert "Only 0.6 GB are free. It fits with TINYLLM_KV_TOKENS=" in said()
    on(monkeypatch, replace(FITS, gpu=replace(H100, memory_free=10**6)))
    assert "Use a smaller model, or TINYLLM_DEVICE=cpu." in said()


@pytest.mark.usefixtures("machine")
def test_doctor_on_a_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    on(monkeypatch, Facts(torch="2.13.0+cpu"))
    text = said()
    assert "CPU, because no NVIDIA driver was found." in text
    assert "torch     2.13.0+cpu, without CUDA" in text
    with pytest.raises(CommandError, match="cuda"):
        said("--expect", "cuda")
    settings.TINYLLM_DEVICE = "cuda"
    with pytest.raises(CommandError, match="asks for the GPU, but no NVIDIA driver was found"):
        said()
    settings.TINYLLM_DEVICE = "gpu"
    with pytest.raises(CommandError, match="one of auto, cpu, cuda"):
        said()
    settings.TINYLLM_DEVICE, settings.TINYLLM_BACKEND = "auto", "cublas"
    with pytest.raises(CommandError, match="backend = 'cublas' is not allowed"):
        said()


@pytest.mark.usefixtures("machine")
def test_doctor_speaks_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    with translation.override("zh-hans"):
        assert "使用 GPU，因为" in said()
        for different, _why, _remedy in MISFITS:
            on(monkeypatch, replace(FITS, **different))
            assert "使用 CPU，因为" in said()


def test_the_sentences_for_no_language_are_only_marked() -> None:
    assert backend.gettext_noop("x") == "x"
