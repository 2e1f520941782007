"""Writes what `make soak` found into docs/benchmarks/soak.json, to be committed.

A soak test says its counts and its seed with pytest's `record_property`. Each row says when and on
what it was counted: the tests that did not run this time keep theirs.
"""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

REPORT = Path("docs/benchmarks/soak.json")
VERSIONS = ("torch", "numba", "numpy", "django", "transformers")

_results: dict[str, dict[str, Any]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.failed:
        _results[report.nodeid] = {
            "outcome": report.outcome,
            "seconds": round(report.duration, 1),
            **dict(report.user_properties),
            **_machine(),
        }


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.rootpath / REPORT
    before = json.loads(path.read_text()) if path.exists() else {}
    if _results:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(before | _results, indent=1, sort_keys=True) + "\n")


def _machine() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in VERSIONS},
    }
