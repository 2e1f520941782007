"""Which process owns a running row, and whether that process still lives.

A process holds a lock on a file named after its id; the kernel lets go of it however the process
ends. Where the file cannot be asked (another machine, another data folder) the heartbeat decides.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

from django.conf import settings


def _directory() -> Path:
    return Path(settings.TINYLLM_DATA_DIR) / "processes"


class ProcessMark:
    """This process's id, held from construction until `release`."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        self._path = _directory() / self.id
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def release(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


def alive() -> list[str]:
    """Processes on this data folder that hold their mark: servers, and commands beside them."""
    names = [path.name for path in _directory().glob("*")]
    return [name for name in names if is_alive(name)]


def is_alive(process: str) -> bool | None:
    """None: no way to tell. A dead process's file is removed."""
    path = _directory() / process
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
