"""Where the site listens, written down for commands beside it: a file in the data folder, there
for as long as the site is."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from django.conf import settings

DEFAULT_PORT = 3000


def remember(host: str, port: int) -> None:
    """A site that cannot write it down serves all the same."""
    with suppress(OSError):
        _file().write_text(json.dumps({"host": host, "port": port, "pid": os.getpid()}))


def forget() -> None:
    """Unless another site on the same data folder has taken its place."""
    with suppress(OSError, ValueError, KeyError):
        if json.loads(_file().read_text())["pid"] == os.getpid():
            _file().unlink()


def where() -> tuple[str, int]:
    """Host and port of the site that was started last, or where it would be by default."""
    try:
        written = json.loads(_file().read_text())
        return str(written["host"]), int(written["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return "127.0.0.1", DEFAULT_PORT


def _file() -> Path:
    return Path(settings.TINYLLM_DATA_DIR) / "listening.json"
