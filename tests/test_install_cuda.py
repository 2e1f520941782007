"""CuPy comes along where there is an NVIDIA driver, for the CUDA of torch, and nowhere else."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

from inference.backend import OLDEST_DRIVERS
from tests.test_install import INSTALL, made_venv, make_wheel, start

KERNEL_MODULE = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build\n"
    "GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n"
)
CUPY = {12: "cupy-cuda12x", 13: "cupy-cuda13x"}


class Installer:
    """The script's functions, in a folder of their own, on a machine without a driver."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder)
        self.folder = folder
        self.names: dict[str, Any] = runpy.run_path(str(INSTALL))["install_cupy"].__globals__
        self.pip: list[tuple[str, ...]] = []
        self.replace(
            nvidia_smi=lambda: "",
            driver_file=lambda: "",
            ctypes=NoLibrary,
            read_stamp=lambda: {"python": "3.11"},
            pip=lambda *arguments: self.pip.append(arguments),
        )
        (folder / ".venv").mkdir()
        (folder / ".venv/installed.json").touch()
        for major in CUPY:
            (folder / f"requirements-cuda{major}.txt").touch()

    def replace(self, **names: Any) -> None:
        self.names.update(names)

    def torch(self, version_file: str) -> None:
        folder = self.folder / ".venv/lib/python3.11/site-packages/torch"
        folder.mkdir(parents=True)
        (folder / "version.py").write_text(version_file)

    def __call__(self, function: str) -> Any:
        return self.names[function]()


class NoLibrary:
    """A machine without libcuda.so.1."""

    class c_int:  # noqa: N801 (the name in ctypes)
        value = 0

    @staticmethod
    def CDLL(name: str) -> None:  # noqa: N802 (the name in ctypes)
        raise OSError(name)


@pytest.fixture
def installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installer:
    return Installer(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("version", "major"),
    [
        ("580.95.05", 13),
        ("610.1", 13),
        ("579.99", 12),
        ("525.60.13", 12),
        ("470.256.02", None),
    ],
)
def test_a_driver_s_version_says_which_cuda_it_runs(
    version: str, major: int | None, installer: Installer
) -> None:
    installer.replace(nvidia_smi=lambda: f"{version}\n{version}\n")
    assert installer("driver_cuda") == major
    installer.replace(nvidia_smi=lambda: "", driver_file=lambda: KERNEL_MODULE.format(version))
    assert installer("driver_cuda") == major


@pytest.mark.parametrize(
    ("number", "major"), [(13020, 13), (12040, 12), (14000, 13), (11040, None)]
)
def test_the_driver_s_library_says_it_too(
    number: int, major: int | None, installer: Installer
) -> None:
    class Library:
        @staticmethod
        def cuDriverGetVersion(address: Any) -> None:  # noqa: N802 (the name in CUDA)
            address.value = number

    class WithLibrary(NoLibrary):
        byref = staticmethod(lambda number: number)
        CDLL = staticmethod(lambda name: Library)  # type: ignore[assignment]

    installer.replace(ctypes=WithLibrary)
    assert installer("driver_cuda") == major


def test_a_machine_without_a_driver_gets_nothing_more(installer: Installer) -> None:
    installer.torch("cuda: Optional[str] = '13.0'\n")
    assert installer("driver_cuda") is None
    installer("install_cupy")
    assert installer.pip == []


@pytest.mark.parametrize(
    ("torch", "driver", "major"),
    [
        ("cuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n", "580.1", 13),
        ("cuda: Optional[str] = '12.6'\n", "580.1", 12),
        ("cuda: Optional[str] = '13.0'\n", "550.1", 13),
        ("cuda = '13.0'\n", "580.1", 13),
        ("cuda: Optional[str] = None\n", "550.1", 12),
        ("cuda: Optional[str] = None\n", "580.1", 13),
    ],
)
def test_cupy_is_for_torch_s_cuda_or_else_for_the_driver_s(
    torch: str, driver: str, major: int, installer: Installer
) -> None:
    installer.torch(torch)
    installer.replace(nvidia_smi=lambda: driver)
    installer("install_cupy")
    assert installer.pip == [
        ("uninstall", "--yes", "--quiet", CUPY[25 - major]),
        ("install", "-r", f"requirements-cuda{major}.txt"),
    ]


def test_the_engine_knows_the_same_drivers(installer: Installer) -> None:
    assert installer.names["CUDA_DRIVERS"] == OLDEST_DRIVERS
    locks = sorted(path.name for path in INSTALL.parent.parent.glob("requirements-cuda*.txt"))
    assert locks == [f"requirements-cuda{major}.txt" for major in sorted(OLDEST_DRIVERS)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Locks of wheels of our own, on a machine with a driver for CUDA 12."""
    probe, cupy = make_wheel(tmp_path, "1.0"), make_wheel(tmp_path, "1.0", name="extra")
    (tmp_path / "requirements.txt").write_text(f"{probe}\n")
    (tmp_path / "requirements-dev.txt").write_text("-r requirements.txt\n")
    (tmp_path / "requirements-cuda12.txt").write_text(f"-r requirements.txt\n{cupy}\n")
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 535.183.01\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    shutil.copytree(made_venv(), tmp_path / ".venv", symlinks=True)
    return tmp_path


def installs(project: Path, lock: str = "requirements.txt") -> list[str]:
    """The locks that were installed when this one was asked for."""
    process = start(project, lock=lock)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return re.findall(r"Installing (\S+) into", output)


def stamped(project: Path) -> set[str]:
    return set(json.loads((project / ".venv/installed.json").read_text())) - {"python"}


def test_cupy_is_installed_once_and_stays(project: Path) -> None:
    runtime, development, cupy = (f"requirements{kind}.txt" for kind in ("", "-dev", "-cuda12"))
    assert installs(project) == [runtime, cupy]
    assert list(project.glob(".venv/lib/*/site-packages/extra/__init__.py"))
    assert installs(project) == []
    assert installs(project, development) == [development]
    assert installs(project) == installs(project, development) == []
    assert stamped(project) == {runtime, development, cupy}

    # what another state of the project installs may have replaced any of it
    (project / runtime).write_text(f"{make_wheel(project, '2.0')}\n")
    assert installs(project) == [runtime, cupy]
    assert stamped(project) == {runtime, cupy}


def test_without_cupy_the_rest_is_kept(project: Path) -> None:
    lock = project / "requirements-cuda12.txt"
    whole = lock.read_text()
    lock.write_text("-r requirements.txt\n./missing-1.0-py3-none-any.whl\n")
    assert installs(project) == ["requirements.txt", lock.name]
    assert installs(project) == [lock.name], "it is tried again"
    assert stamped(project) == {"requirements.txt"}
    lock.write_text(whole)
    assert installs(project) == [lock.name]
    assert installs(project) == []
