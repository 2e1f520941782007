"""Writes what `make soak` found into docs/benchmarks/soak.json, to be committed.

A soak test says its counts and its seed with pytest's `record_property`.
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

_results: list[dict[str, Any]] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.failed:
        _results.append(
            {
                "test": report.nodeid,
                "outcome": report.outcome,
                "seconds": round(report.duration, 1),
                **dict(report.user_properties),
            }
        )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Nothing is written where no test ran: an older result is worth more."""
    if not _results:
        return
    content = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in VERSIONS},
        "results": _results,
    }
    path = session.config.rootpath / REPORT
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
