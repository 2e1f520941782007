"""The only file that reads the environment. A `.env` file in the root is read too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import environ

BASE_DIR = Path(__file__).resolve().parent.parent

environ.Env.read_env(str(BASE_DIR / ".env"))
_env = environ.Env()


def use_settings() -> None:
    """Tell Django which settings to load, unless the caller already chose."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tinyllm_site.settings")


def text(name: str, default: str = "") -> str:
    return cast(str, _env.str(name, default))


def flag(name: str, *, default: bool) -> bool:
    return cast(bool, _env.bool(name, default))


def integer(name: str, default: int) -> int:
    return cast(int, _env.int(name, default))


def number(name: str, default: float) -> float:
    return cast(float, _env.float(name, default))


def integer_or_auto(name: str) -> int | None:
    """None for the word auto, which is the default."""
    return None if text(name, "auto") == "auto" else integer(name, 0)


def number_or_auto(name: str) -> float | None:
    """None for the word auto, which is the default."""
    return None if text(name, "auto") == "auto" else number(name, 0)


def names(name: str) -> list[str]:
    """A list separated by commas; empty where the variable is absent."""
    return cast(list[str], _env.list(name, default=[]))


def directory(name: str, default: Path) -> Path:
    return Path(text(name) or default).expanduser().resolve()


def database(default: Path) -> dict[str, Any]:
    """`DATABASE_URL` as Django's dictionary; an SQLite file at `default` where it is absent."""
    return cast(dict[str, Any], _env.db_url("DATABASE_URL", default=f"sqlite:///{default}"))


def hand_on(name: str, value: Path) -> None:
    """Set a variable for libraries that read it themselves, in this process and its children."""
    os.environ[name] = str(value)


def cores() -> int:
    """Cores this process may use, at least 1."""
    return len(os.sched_getaffinity(0))
