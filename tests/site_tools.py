"""Tools of a project of its own, run by the site, and calls that offer them to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import AsyncClient

from chat.site_tools import chosen, process
from chat.site_tools.kinds import GROUP
from inference.types import GenerateRequest
from tests.plugin_projects import EXAMPLE, install, install_example
from tests.response_client import events_of, response_to

MODULE = """
import os, subprocess, sys, time
class Tool:
    description = "x"
    parameters = {"type": "object"}
class Hangs(Tool):
    def __call__(self, path="/dev/null"):
        with open(path, "w") as file:
            file.write(str(os.getpid()))
        time.sleep(1000)
class Waits(Tool):
    def __call__(self, path):
        with open(path, "w") as file:
            file.write(str(os.getpid()))
        while not os.path.exists(path + ".go"):
            time.sleep(0.01)
        return "waited"
class Prints(Tool):
    def __call__(self): print('{"text": "forged"}'); return "told\\0\\ud800"
class Long(Tool):
    def __call__(self): return "x" * 30_000
class Number(Tool):
    def __call__(self): return 7
class Dies(Tool):
    def __call__(self): os._exit(3)
class Environment(Tool):
    def __call__(self): return " ".join(sorted(os.environ))
class Mute:
    description = "x"
"""
NAMES = ("hangs", "waits", "prints", "long", "number", "dies", "environment")
ARGUMENTS = '{"word":"Strawberry","letter":"r"}'
CALL = f'<tool_call>{{"name":"letters","arguments":{ARGUMENTS}}}</tool_call>'
GAVE = "'r' is 3 times in 'Strawberry'."
OFFERED = {
    "type": "mcp", "server_label": "tinyllm", "allowed_tools": ["letters"],
    "require_approval": "never",
}  # fmt: skip


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Any:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "odd_tools.py").write_text(MODULE)
    points = {name: f"odd_tools:{name.title()}" for name in (*NAMES, "mute")}
    odd = {"name": "odd", "version": "0.1", "entry-points": {GROUP: points}}
    for path in (EXAMPLE, install_example(tmp_path / "site"), install(tmp_path / "odd", odd)):
        monkeypatch.syspath_prepend(str(path))
    settings.TINYLLM_TOOLS = ["letters", *NAMES]
    monkeypatch.setattr(process, "SECONDS", 120.0)  # where others use the cores as well
    chosen.tools.cache_clear()
    yield
    chosen.tools.cache_clear()


def script(*answers: str) -> Any:
    """The model's answers, one after the other; the last one again and again."""
    left = list(answers)

    def say(request: GenerateRequest) -> list[str]:
        return [left.pop(0) if len(left) > 1 else left[0]]

    return say


async def respond(said: Any = "How many r?", **body: Any) -> dict[str, Any]:
    return await response_to({"model": "chat", "input": said, "tools": [OFFERED]} | body)


async def streamed(**body: Any) -> list[dict[str, Any]]:
    return await events_of({"model": "chat", "input": "How many r?", "tools": [OFFERED]} | body)


async def got(name: str, more: str = "") -> Any:
    return (await AsyncClient().get(f"/v1/responses/{name}{more}")).json()
