"""Tests that are not about SQLite, once more on a real PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.postgres import create, postgres

ROOT = Path(__file__).resolve().parent.parent
FILES = ("chat_search", "chat_turns", "chat_glass", "chat_session_pages", "nul", "usage")
"""Those whose statements are written by hand, or lean on what a database does with locks, or
are about what it does not keep."""


def test_the_site_works_on_postgresql() -> None:
    named = [f"tests/test_{name}.py" for name in FILES]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not sqlite", *named]
    inherited = {key: value for key, value in os.environ.items() if "PYTEST" not in key}
    with postgres() as server:
        environment = {**inherited, "DATABASE_URL": create(server, "tiny")}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout[-10_000:]
    assert " passed" in done.stdout
