"""How Python is set up where many are served: in the site's process, by what starts it. Of an
engine's process tests/test_mailbox.py knows."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inference.interpreter import GC_THRESHOLDS, SWITCH_S
from tests import fake_engine
from tests.fake_engine import FakeEngine
from tests.server_process import ROOT, ServerProcess

SAY = "import gc, json, sys; print(json.dumps([*gc.get_threshold(), sys.getswitchinterval()]))"


def build() -> FakeEngine:
    """For `TINYLLM_ENGINE_FACTORY`: notes how the site's process is set up."""
    its = [*gc.get_threshold(), sys.getswitchinterval()]
    Path(os.environ["TINYLLM_DATA_DIR"], "interpreter").write_text(json.dumps(its))
    return fake_engine.build()


def test_to_serve_many_is_less_waiting_and_less_looking() -> None:
    def said(first: str) -> list[float]:
        code = [sys.executable, "-c", first + SAY]
        done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, check=True)
        its: list[float] = json.loads(done.stdout)
        return its

    serving = said("from inference.interpreter import serve_many; serve_many(); ")
    assert serving == [*GC_THRESHOLDS, SWITCH_S]
    *thresholds, switch = said("")
    assert switch > SWITCH_S
    assert all(few < many for few, many in zip(thresholds, GC_THRESHOLDS, strict=True))


@pytest.mark.fake_engine
def test_a_served_site_is_set_up_so(tmp_path: Path) -> None:
    factory = "tests.test_interpreter.build"
    site = ServerProcess(tmp_path, TINYLLM_ENGINE_FACTORY=factory).migrate().start()
    site.end(signal.SIGKILL)
    noted = json.loads((tmp_path / "interpreter").read_text())
    assert noted == [*GC_THRESHOLDS, SWITCH_S]
