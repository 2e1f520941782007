"""The locks hold everywhere, and .ci/install.py never leaves a broken .venv that looks whole."""

from __future__ import annotations

import ast
import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "chat" / "client"
"""A package of its own, with its own dependencies (tests/test_client.py)."""
INSTALL = ROOT / ".ci" / "install.py"
ADDED = ("requirements-dev", "requirements-cuda12", "requirements-cuda13")
LOCKS = ("requirements.txt", *(f"{name}.txt" for name in ADDED))
PIN = re.compile(r'[a-z0-9-]+(\[ctk\])?==[0-9][0-9a-z.]*(; platform_machine == "x86_64")?')
# Distribution name -> the name it is imported by, where they differ.
IMPORTED_AS = {
    "django-allauth": "allauth",
    "django-csp": "csp",
    "django-environ": "environ",
    "django-ninja": "ninja",
    "django-unfold": "unfold",
    "markdown-it-py": "markdown_it",
    "prometheus-client": "prometheus_client",
    "pydantic-core": "pydantic_core",
    "python-docx": "docx",
    "zope-interface": "zope",
}
# Imported where they are, with the reason why a user need not have them.
OPTIONAL = {
    "cupy": "only for NVIDIA GPUs",
    "matplotlib": "the pictures of `manage.py train` and `evaluate`; a development dependency",
    "opentelemetry": "traces for a collector, where somebody has one; for tests",
    "peft": "LoRA in `manage.py train`; a development dependency",
    "transformers": "runs sentence models; the peer that `manage.py bench` measures",
    "websockets": "the reader that `manage.py bench serve` is; a development dependency",
}
# Never imported, with the reason why they are asked for.
NOT_IMPORTED = {
    "cryptography": "what pypdf opens encrypted files with",
    "daphne": "an installed app",
    "psycopg": "Django's driver for PostgreSQL",
    "lxml-html-clean": "what trafilatura cleans pages with",
    "tbb": "a shared library, opened by kernels/cpu/jit.py",
    "unfold": "an installed app",
}


def lock_complaints(text: str, asked: Iterable[str] = ()) -> list[str]:
    """What is wrong with a lock file, one line each; empty when it holds on every machine.
    Packages of one kind of machine may only be pinned where they are `asked` for by name."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    complaints = [
        line for line in lines if not PIN.fullmatch(line) and line != "-r requirements.txt"
    ]
    # http in any form: an index, a link, a direct address.
    complaints += [word for word in ("+cpu", "http:", "https:", "--") if word in text]
    machine = [line for line in lines if re.match(r"nvidia-|cuda-|triton", line)]
    return complaints + [line for line in machine if line.partition("==")[0] not in asked]


def names(path: Path) -> set[str]:
    """Distributions a requirements file asks for, without extras and versions."""
    lines = path.read_text().splitlines()
    return {re.split(r"[\[=~<>;]", line)[0] for line in lines if re.match(r"[a-z]", line)}


@pytest.mark.parametrize("name", LOCKS)
def test_lock_holds_on_every_machine(name: str) -> None:
    asked = names((ROOT / name).with_suffix(".in"))
    assert lock_complaints((ROOT / name).read_text(), asked) == []


@pytest.mark.parametrize(
    "line",
    [
        "torch==2.13.0+cpu",
        "torch>=2.13.0",
        "numpy",
        "-f https://somewhere.example/wheels",
        "numpy==2.4.6 --hash=sha256:00",
        "nvidia-cublas==13.0.0",
        "mdit-py-plugins @ file:///tmp/x.whl",
    ],
)
def test_lock_check_sees_what_does_not_hold(line: str) -> None:
    assert lock_complaints(f"asgiref==3.13.0\n{line}\n")


def test_torch_is_pinned_exactly() -> None:
    assert "torch==2.13.0" in (ROOT / "requirements.txt").read_text().splitlines()


def test_locks_pin_all_that_is_asked_for() -> None:
    runtime, *added = (names(ROOT / name) for name in LOCKS)
    assert names(ROOT / "requirements.in") <= runtime
    for name, extra in zip(ADDED, added, strict=True):
        assert names(ROOT / f"{name}.in") <= runtime | extra
        assert not runtime & extra, "pinned twice"
    development, *cupy = added
    assert not any(development & extra for extra in cupy), "one replaces the other's packages"


def test_product_imports_exactly_what_requirements_in_names() -> None:
    """No import rests on a package that only came along, none is installed for nothing."""
    ours = {"chat", "inference", "kernels", "tinyllm_site", "tests"}
    imported: set[str] = set()
    for folder in ("chat", "inference", "kernels", "tinyllm_site"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.is_relative_to(CLIENT):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    imported.add((node.module or "").partition(".")[0])
    asked = {IMPORTED_AS.get(name, name) for name in names(ROOT / "requirements.in")}
    assert imported - ours - OPTIONAL.keys() - sys.stdlib_module_names - asked == set()
    assert asked - imported - NOT_IMPORTED.keys() == set()


def make_wheel(folder: Path, version: str, modules: int = 1, name: str = "probe") -> Path:
    """A wheel of our own that pip can install with the network cut."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{name}/__init__.py", f"version = {version!r}\n")
        for index in range(modules):
            wheel.writestr(f"{name}/part_{index}.py", "")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def start(project: Path, *, lock: str = "requirements.txt") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(INSTALL), lock],
        cwd=project,
        env={**os.environ, "PIP_NO_COMPILE": "1"},  # it takes most of the time of an install
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def installed_version(project: Path) -> str:
    code = "import probe; print(probe.version)"
    run = subprocess.run(
        [project / ".venv/bin/python", "-c", code], capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A project as it is cloned."""
    (tmp_path / "requirements.txt").write_text(f"{make_wheel(tmp_path, '1.0')}\n")
    return tmp_path


@cache
def made_venv() -> Path:
    """A .venv that holds nothing of any lock, made once for all who begin with one."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
    (folder / ".venv/installed.json").write_text(json.dumps({"python": sys.version}))
    return folder / ".venv"


@pytest.fixture
def project(fresh: Path) -> Path:
    shutil.copytree(made_venv(), fresh / ".venv", symlinks=True)
    return fresh


def test_installs_once_and_again_when_the_lock_changes(project: Path) -> None:
    first, _ = start(project).communicate()
    assert "Installing requirements.txt" in first
    assert installed_version(project) == "1.0"

    again, _ = start(project).communicate()
    assert again == "", "an unchanged lock asks pip for nothing"

    (project / "requirements.txt").write_text(f"{make_wheel(project, '2.0')}\n")
    changed, _ = start(project).communicate()
    assert "Making .venv" not in changed
    assert installed_version(project) == "2.0"


def test_development_lock_contains_the_other(project: Path) -> None:
    (project / "requirements-dev.txt").write_text("-r requirements.txt\n")
    start(project, lock="requirements-dev.txt").communicate()
    output, _ = start(project).communicate()
    assert output == "", "the runtime lock is part of what was installed"


def test_two_at_once_wait_for_each_other(fresh: Path) -> None:
    both = [start(fresh), start(fresh)]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    for step in ("Making .venv", "Installing requirements.txt"):
        assert sum(step in output for output in outputs) == 1
    assert installed_version(fresh) == "1.0"


def test_interrupted_install_is_made_anew(project: Path) -> None:
    (project / "requirements.txt").write_text(f"{make_wheel(project, '1.0', modules=10_000)}\n")
    process = start(project)
    while process.poll() is None and not any(project.glob(".venv/lib/*/site-packages/probe/*")):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (project / ".venv/installed.json").exists()

    output, _ = start(project).communicate()
    assert "Making .venv" in output
    assert installed_version(project) == "1.0"


def test_failed_install_says_so_and_is_not_taken_for_done(project: Path) -> None:
    (project / "requirements.txt").write_text("./missing-1.0-py3-none-any.whl\n")
    process = start(project)
    output, _ = process.communicate()
    assert process.returncode == 1
    assert "could not install requirements.txt" in output
    assert not (project / ".venv/installed.json").exists()


def test_old_python_is_told_what_to_do(tmp_path: Path) -> None:
    code = (
        "import sys, runpy; sys.version_info = (3, 9, 2); "
        "runpy.run_path(sys.argv[1], run_name='__main__')"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(INSTALL)], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 1
    assert "needs Python 3.11 or newer" in run.stderr
    assert "is 3.9" in run.stderr
    assert not (tmp_path / ".venv").exists()
