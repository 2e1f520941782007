"""A PostgreSQL of its own in a temporary folder, for the tests that need a real one.

It listens on loopback, trusts whoever comes, keeps nothing safe, and never runs as root, which
PostgreSQL itself refuses.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

INSTALL = "apt-get install postgresql"
_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin")


@contextmanager
def postgres() -> Iterator[str]:
    """Its URL without a database's name: `f"{url}/name"` after `create`."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))  # a short path: sockets want it
    user = _unprivileged(folder)
    data, port = folder / "data", _free_port()
    tools = _tools()
    make = ["-D", str(data), "-U", "tiny", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
    _run([tools / "initdb", *make, "--no-sync"], user)
    settings = {
        "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder,
        "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
    }  # fmt: skip
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    log = ["-l", str(folder / "log"), "-o", options, "-w", "-t", "60"]
    try:
        _run([tools / "pg_ctl", "-D", str(data), *log, "start"], user)
        yield f"postgres://tiny@127.0.0.1:{port}"
    finally:
        stop = [str(tools / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop"]
        subprocess.run(stop, user=user, cwd="/", capture_output=True, check=False)
        shutil.rmtree(folder)


def create(url: str, name: str) -> str:
    """An empty database; returns its URL."""
    import psycopg

    with closing(psycopg.connect(f"{url}/postgres", autocommit=True)) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"{url}/{name}"


def _tools() -> Path:
    found = [path for place in _PLACES for path in sorted(Path("/").glob(place[1:]))]
    for path in reversed(found):
        if (path / "initdb").exists():
            return path
    if there := shutil.which("initdb"):
        return Path(there).resolve().parent
    pytest.fail(f"PostgreSQL is missing. Run: {INSTALL}")


def _unprivileged(folder: Path) -> int | None:
    """Whom to run it as, where we are root: the folder is theirs then."""
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam("nobody").pw_uid
    os.chown(folder, user, -1)
    return user


def _run(command: list[str | Path], user: int | None) -> None:
    done = subprocess.run(
        list(map(str, command)), user=user, cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
