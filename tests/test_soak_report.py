"""`make soak` leaves a file that says what was counted, with which seed, and how it went."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def soak(folder: Path, body: str) -> dict[str, Any] | None:
    """Run one test file with the report in a folder of its own; what was written, if anything."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_long.py").write_text(body)
    options = ["-p", "tests.soak_report", "-p", "no:django", "-p", "no:cacheprovider", "-q"]
    subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_long.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    report = folder / "docs/benchmarks/soak.json"
    return json.loads(report.read_text()) if report.exists() else None


def test_report_holds_counts_seed_and_outcome_and_keeps_what_did_not_run(tmp_path: Path) -> None:
    counted = "def test_turns(record_property):\n    record_property('{}', 7)\n"
    broken = "def test_breaks():\n    assert False\n"
    assert soak(tmp_path, counted.format("turns") + broken)
    written = soak(tmp_path, counted.format("seed"))
    assert written is not None
    breaks, turns = (written[f"test_long.py::test_{name}"] for name in ("breaks", "turns"))
    assert (breaks["outcome"], turns["outcome"]) == ("failed", "passed")
    assert (turns["seed"], "turns" in turns) == (7, False)
    for row in (breaks, turns):
        assert row["date"] > "2026"
        assert row["versions"]["torch"].startswith("2.13.0")


def test_nothing_is_written_where_nothing_ran(tmp_path: Path) -> None:
    assert soak(tmp_path, "") is None
