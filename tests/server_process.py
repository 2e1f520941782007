"""`manage.py serve` in a process of its own, on a database of its own and the scripted engine."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 120
"""An upper bound on waiting for a server, on a busy machine."""


class ServerProcess:
    """Made with `directory` as its data folder; `start` waits until it says where it listens.
    project: the folder of its manage.py."""

    project = ROOT

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("TINYLLM_")},
            "TINYLLM_DATA_DIR": str(directory),
            "TINYLLM_ENGINE_FACTORY": "tests.fake_engine.build",
            **environment,
        }
        self.environment.pop("DATABASE_URL", None)
        self.process: subprocess.Popen[str] | None = None
        self.greeting: list[str] = []
        self.port = 0

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def migrate(self) -> ServerProcess:
        """Give it a database with all migrations."""
        shutil.copy(_migrated(), self.directory)
        return self

    def start(self, *arguments: str) -> ServerProcess:
        with (self.directory / "log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "serve", "--port", "0", *arguments],
                cwd=self.project,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self.greeting = []
        for line in self.process.stdout:
            self.greeting.append(line)
            if found := re.search(r"http://[^:]+:(\d+)/\S*  ", line):
                self.port = int(found[1])
                return self
        raise AssertionError(f"serve ended: {(self.directory / 'log').read_text()}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and wait. Returns the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=PATIENCE_S)
        self.greeting += rest.splitlines()
        return self.process.returncode

    def rows(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[Any]:
        connection = sqlite3.connect(self.directory / "db.sqlite3", timeout=PATIENCE_S)
        try:
            found = connection.execute(query, parameters or {}).fetchall()
            connection.commit()
            return found
        finally:
            connection.close()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log's lines about one kind of event."""
        lines = (self.directory / "log").read_text().splitlines()
        found = [json.loads(line) for line in lines if f'"event": "{event}"' in line]
        return [line for line in found if line["event"] == event]

    @property
    def socket_url(self) -> str:
        return f"ws://localhost:{self.port}/ws/chat/"

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"


@cache
def _migrated() -> Path:
    """A database with all migrations, made once for all servers of a run. Without the pages that
    they have freed, which would be room on a disk that is said to be full."""
    directory = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, directory)
    made = ServerProcess(directory)
    done = made.manage("migrate", "-v0")
    assert done.returncode == 0, done.stderr
    made.rows("VACUUM")
    return directory / "db.sqlite3"
