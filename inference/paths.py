"""Paths that are made of what somebody named."""

from __future__ import annotations

from pathlib import Path


def is_file(path: Path) -> bool:
    """False too for a name that no file can have, such as one that is too long."""
    try:
        return path.is_file()
    except OSError:
        return False
