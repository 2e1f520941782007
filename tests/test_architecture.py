"""The house rules, read off the syntax of every file: who may import whom, and how long things get.

Each rule is a function from (path, source) to complaints, proved on a good and a bad sample.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("kernels", "inference", "chat", "tinyllm_site", "tests", ".ci")
FILE_LINES = 300
FUNCTION_LINES = 40

# path, or path:function -> why it may be longer.
LONGER = {
    "tests/tiny_llama.py:write_tiny_llama": "its arguments are the whole configuration space",
}

# Third-party packages of kernels/: nothing else runs there.
KERNELS_MAY = {
    "torch": "the reference of each op",
    "numpy": "arrays over the same memory",
    "numba": "compiles the CPU kernels, and is a wheel",
    "llvmlite": "numba's back end: the instructions that numba has no name for",
    "cupy": "compiles the GPU kernels",
}
# Modules that decide, and are tested without torch.
POLICY = {
    "inference/types.py",
    "inference/errors.py",
    "inference/scheduler.py",
    "inference/sequence.py",
    "inference/kv_cache.py",
    "inference/residency.py",
    "inference/pace.py",
    "inference/client.py",
    "inference/catalogue.py",
    "inference/prompt_codec.py",
    "inference/prompt_lookup.py",
    "inference/drafting.py",
    "inference/chat_template.py",
    "inference/detokenizer.py",
}
# Rooms of chat/, lowest first. A room imports from rooms below it, never sideways or up.
LAYERS = [
    {"chat.models"},
    {"chat.services", "chat.selectors"},
    {"chat.prompt_selectors"},
    {"chat.generation"},
    {"chat.consumers", "chat.api", "chat.api_v1", "chat.views", "chat.admin"},
]

Rule = Callable[[str, str], list[str]]


def imports(source: str, *, names: bool = True) -> Iterator[str]:
    """Every module imported anywhere; with `names`, `from a import b` counts as a and as a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if names:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_in(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def kernels_rule(path: str, source: str) -> list[str]:
    if not path.startswith("kernels/"):
        return []
    known = {"kernels", "__future__", *KERNELS_MAY, *sys.stdlib_module_names}
    return [name for name in imports(source) if name.partition(".")[0] not in known]


def inference_rule(path: str, source: str) -> list[str]:
    if not path.startswith("inference/"):
        return []
    found = set(imports(source))
    wrong = {name for name in found if is_in(name, "chat", "tinyllm_site")}
    if path != "inference/apps.py" and not path.startswith("inference/management/"):
        wrong |= {name for name in found if is_in(name, "django", "channels", "ninja")}
    wrong |= {name for name in imports(source, names=False) if name.startswith("kernels.")}
    if path in POLICY:
        wrong |= {name for name in found if is_in(name, "torch", "numba", "cupy", "kernels")}
    return sorted(wrong)


def chat_rule(path: str, source: str) -> list[str]:
    if not path.startswith("chat/"):
        return []
    found = set(imports(source))
    wrong = {name for name in found if is_in(name, "torch", "cupy", "numba", "kernels")}
    if path != "chat/engine.py":
        free = ("inference.types", "inference.errors")
        wrong |= {name for name in found if is_in(name, "inference") and not is_in(name, *free)}
        wrong -= {"inference"}
    return sorted(wrong)


def layers_rule(path: str, source: str) -> list[str]:
    room = path.removesuffix(".py").replace("/", ".")
    level = next((i for i, rooms in enumerate(LAYERS) if is_in(room, *rooms)), None)
    if level is None:
        return []
    own = {name for name in LAYERS[level] if is_in(room, name)}
    barred = set().union(*LAYERS[level:]) - own
    return sorted({name for name in imports(source) if is_in(name, *barred)})


def environment_rule(path: str, source: str) -> list[str]:
    if path == "tinyllm_site/env.py" or path.startswith(("tests/", ".ci/")):
        return []
    words = ("os.environ", "os.getenv", "os.putenv")
    attributes = {
        ast.unparse(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)
    }
    return sorted({name for name in attributes | set(imports(source)) if name in words})


def budget_rule(path: str, source: str) -> list[str]:
    lines = source.count("\n")
    complaints = [f"{lines} lines"] if lines > FILE_LINES and path not in LONGER else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > FUNCTION_LINES and f"{path}:{node.name}" not in LONGER:
                complaints.append(f"{node.name}: {size} lines")
    return complaints


LONG_FUNCTION = "def f() -> None:\n" + "    pass\n" * FUNCTION_LINES
# rule, a file that keeps it, a file that breaks it
SAMPLES: list[tuple[Rule, tuple[str, str], tuple[str, str]]] = [
    (
        kernels_rule,
        ("kernels/norm.py", "import torch\nfrom kernels.cpu import jit\nimport math"),
        ("kernels/norm.py", "def f():\n    from inference.types import Delta"),
    ),
    (
        kernels_rule,
        ("kernels/norm.py", "from numba import njit"),
        ("kernels/a.py", "import django"),
    ),
    (
        inference_rule,
        ("inference/runner.py", "import torch\nfrom kernels import rms_norm"),
        ("inference/runner.py", "from kernels.shapes import check_shapes"),
    ),
    (
        inference_rule,
        ("inference/apps.py", "from django.apps import AppConfig"),
        ("inference/engine.py", "from django.conf import settings"),
    ),
    (
        inference_rule,
        ("inference/weights.py", "import torch"),
        ("inference/scheduler.py", "import torch"),
    ),
    (inference_rule, ("inference/a.py", "import json"), ("inference/a.py", "import chat.models")),
    (
        chat_rule,
        ("chat/services.py", "from inference.types import Delta\nfrom inference import errors"),
        ("chat/services.py", "from inference.client import EngineClient"),
    ),
    (
        chat_rule,
        ("chat/engine.py", "from inference.client import EngineClient"),
        ("chat/engine.py", "import torch.nn"),
    ),
    (
        layers_rule,
        ("chat/generation.py", "from chat import services\nfrom chat.models import Session"),
        ("chat/services.py", "from chat import generation"),
    ),
    (
        layers_rule,
        ("chat/views.py", "from chat.selectors import conversation"),
        ("chat/selectors.py", "from chat.services import turn_start"),
    ),
    (
        environment_rule,
        ("tinyllm_site/env.py", "import os\nos.environ['X']"),
        ("chat/engine.py", "import os\nos.environ.get('X')"),
    ),
    (environment_rule, ("a.py", "import os\nos.sep"), ("a.py", "from os import environ")),
    (budget_rule, ("a.py", "x = 1\n" * 300), ("a.py", "x = 1\n" * 301)),
    (budget_rule, ("a.py", LONG_FUNCTION.replace("    pass\n", "", 1)), ("a.py", LONG_FUNCTION)),
]
RULES = {
    "kernels": kernels_rule,
    "inference": inference_rule,
    "chat": chat_rule,
    "layers": layers_rule,
    "environment": environment_rule,
    "budget": budget_rule,
}


def product_files() -> list[Path]:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return [ROOT / "manage.py", *(path for path in files if "migrations" not in path.parts)]


@pytest.mark.parametrize(("rule", "good", "bad"), SAMPLES)
def test_rule_tells_good_from_bad(rule: Rule, good: tuple[str, str], bad: tuple[str, str]) -> None:
    assert rule(*good) == []
    assert rule(*bad) != []


@pytest.mark.parametrize("name", RULES)
def test_every_file_keeps_the_rule(name: str) -> None:
    broken = {}
    for path in product_files():
        relative = path.relative_to(ROOT).as_posix()
        if complaints := RULES[name](relative, path.read_text()):
            broken[relative] = complaints
    assert broken == {}


def test_scripts_and_styles_keep_the_file_budget() -> None:
    files = [*(ROOT / "static").rglob("*.js"), *(ROOT / "static").rglob("*.css")]
    assert files
    sizes = {path.relative_to(ROOT).as_posix(): path.read_text().count("\n") for path in files}
    assert {name: n for name, n in sizes.items() if n > FILE_LINES and name not in LONGER} == {}


def test_every_exception_is_still_needed() -> None:
    for name in LONGER:
        path, _, function = name.partition(":")
        source = (ROOT / path).read_text()
        sizes = {
            node.name: (node.end_lineno or node.lineno) - node.lineno + 1
            for node in (ast.walk(ast.parse(source)) if path.endswith(".py") else ())
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        size, budget = (
            (sizes[function], FUNCTION_LINES) if function else (source.count("\n"), FILE_LINES)
        )
        assert size > budget, f"{name} fits its budget again: take it off the list"


def loaded_after(code: str) -> set[str]:
    """Names of the heavy packages that a fresh Python has loaded after running `code`."""
    report = "\nimport sys\nprint(*{'torch', 'cupy', 'numba', 'transformers'} & sys.modules.keys())"
    run = subprocess.run(
        [sys.executable, "-c", code + report], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_the_site_loads_without_torch() -> None:
    files = [path for path in product_files() if path.is_relative_to(ROOT / "chat")]
    rooms = (path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in files)
    setup = "from tinyllm_site import env\nenv.use_settings()\nimport django\ndjango.setup()\n"
    lines = "".join(f"import {room}\n" for room in rooms)
    assert loaded_after(f"{setup}{lines}import tinyllm_site.asgi") == set()


def test_policy_loads_without_torch() -> None:
    names = [path.removesuffix(".py").replace("/", ".") for path in sorted(POLICY)]
    assert loaded_after("".join(f"import {name}\n" for name in names)) == set()


def test_the_check_for_loaded_packages_sees_one() -> None:
    assert loaded_after("import numba") == {"numba"}
