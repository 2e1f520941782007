"""A site of its own for a benchmark: `manage.py serve` as a process, with a database that is new.

It inherits this process's environment, so it has the same models, device and threads.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inference.errors import EngineError

STOP_WAIT_S = 60.0


class SiteFailed(EngineError):
    """The site did not start, or not end well. The message has the last of its log."""

    code = "site_failed"


class SiteProcess:
    """A running site. url: where it listens. folder: its data."""

    def __init__(
        self, url: str, folder: Path, process: subprocess.Popen[str], command: list[str]
    ) -> None:
        self.url, self.folder = url, folder
        self._process, self._command = process, command

    def logged(self, *events: str) -> list[dict[str, Any]]:
        """The log's lines about these events, in order."""
        lines = (self.folder / "log").read_text(encoding="utf-8").splitlines()
        found = (json.loads(line) for line in lines if line.startswith("{"))
        return [line for line in found if line.get("event") in events]

    def make_administrator(self, name: str, password: str) -> None:
        """Raises SiteFailed."""
        given = [f"DJANGO_SUPERUSER_USERNAME={name}", f"DJANGO_SUPERUSER_PASSWORD={password}"]
        asked = ["createsuperuser", "--noinput", "--email", "bench@localhost"]
        command = ["env", *given, *self._command, *asked]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            raise SiteFailed("The site has made no administrator.")

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time so far, by thread."""
        before = len(self.logged("cpu.used"))
        self._process.send_signal(signal.SIGUSR1)
        end = time.monotonic() + STOP_WAIT_S
        while len(lines := self.logged("cpu.used")) == before:
            if time.monotonic() > end:
                raise _failed(self.folder)
            time.sleep(0.01)
        return dict(lines[-1]["seconds"])

    def stop(self) -> None:
        """Raises SiteFailed where it does not end well. What it logged can still be read."""
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=STOP_WAIT_S)
        if self._process.returncode:
            raise _failed(self.folder)


@contextmanager
def site_process(manage: Path, **settings: str) -> Iterator[SiteProcess]:
    """manage: the project's manage.py. settings: environment variables. Raises SiteFailed."""
    with tempfile.TemporaryDirectory(prefix="tinyllm-bench-") as name:
        folder = Path(name)
        given = {"TINYLLM_DATA_DIR": name, **settings}
        variables = [f"{key}={value}" for key, value in given.items()]
        command = ["env", "-u", "DATABASE_URL", *variables, sys.executable, str(manage)]
        with (folder / "log").open("w", encoding="utf-8") as log:
            made = subprocess.run([*command, "migrate", "-v0"], stderr=log, check=False)
            if made.returncode:
                raise _failed(folder)
            process = subprocess.Popen(
                [*command, "serve", "--port", "0"], stdout=subprocess.PIPE, stderr=log, text=True
            )
        try:
            yield SiteProcess(_address(process, folder), folder, process, command)
        finally:
            process.kill()
            process.communicate()


def _address(process: subprocess.Popen[str], folder: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"(http://\S+)/  ", line):
            return found[1]
    raise _failed(folder)


def _failed(folder: Path) -> SiteFailed:
    return SiteFailed(f"The site ended: {(folder / 'log').read_text(encoding='utf-8')[-2000:]}")
