"""The only file that reads the environment. A `.env` file in the root is read too.

What was read is noted in READ, so that whoever runs the site can be told every value and where it
came from. A variable of the environment goes before the same one in the file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
HIDDEN = "•••"

_given = frozenset(os.environ)
environ.Env.read_env(str(BASE_DIR / ".env"))
_filed = frozenset(os.environ) - _given
_env = environ.Env()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Read:
    """A variable that the settings asked for. value: as it is shown, without secrets."""

    name: str
    value: str
    source: Literal["environment", "file", "default"]


READ: dict[str, Read] = {}


def use_settings() -> None:
    """Tell Django which settings to load, unless the caller already chose."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tinyllm_site.settings")


def calm_threads() -> None:
    """Before torch is loaded: a thread of its products that waits for the others sleeps, unless
    the caller already chose. By default it spins, on a core that the one it waits for may need:
    where a machine has other work, an answer then took ten times as long."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def text(name: str, default: str = "") -> str:
    return _noted(name, cast(str, _env.str(name, default)))


def refuse(**instead: str) -> None:
    """Variables of before, where ignoring one would open a site that was closed. Raises
    ImproperlyConfigured."""
    for name in instead.keys() & os.environ.keys():
        raise ImproperlyConfigured(f"{name} is no longer read. Set {instead[name]}.")


def choice(name: str, words: tuple[str, ...]) -> str:
    """One of these; the first where it is absent. Raises ImproperlyConfigured."""
    value = text(name, words[0])
    if value not in words:
        raise ImproperlyConfigured(f"{name} = {value!r}: it must be one of {', '.join(words)}.")
    return value


def secret(name: str) -> str:
    """Never shown; empty where it is absent."""
    value = cast(str, _env.str(name, ""))
    _noted(name, HIDDEN if value else "")
    return value


def secrets(name: str) -> tuple[str, ...]:
    """A list separated by commas, never shown; empty where it is absent."""
    return tuple(filter(None, map(str.strip, secret(name).split(","))))


def flag(name: str, *, default: bool) -> bool:
    return _noted(name, cast(bool, _env.bool(name, default)))


def integer(name: str, default: int) -> int:
    return _noted(name, cast(int, _env.int(name, default)))


def number(name: str, default: float) -> float:
    return _noted(name, cast(float, _env.float(name, default)))


def integer_or_auto(name: str) -> int | None:
    """None for the word auto, which is the default."""
    return None if text(name, "auto") == "auto" else integer(name, 0)


def number_or_auto(name: str) -> float | None:
    """None for the word auto, which is the default."""
    return None if text(name, "auto") == "auto" else number(name, 0)


def names(name: str) -> list[str]:
    """A list separated by commas; empty where the variable is absent."""
    found = cast(list[str], _env.list(name, default=[]))
    _noted(name, ", ".join(found))
    return found


def directory(name: str, default: Path) -> Path:
    return _noted(name, Path(cast(str, _env.str(name, "")) or default).expanduser().resolve())


def database(default: Path) -> dict[str, Any]:
    """`DATABASE_URL` as Django's dictionary; an SQLite file at `default` where it is absent."""
    url = cast(str, _env.str("DATABASE_URL", f"sqlite:///{default}"))
    password = urlsplit(url).password
    _noted("DATABASE_URL", url.replace(f":{password}@", f":{HIDDEN}@") if password else url)
    return cast(dict[str, Any], _env.db_url("DATABASE_URL", default=url))


def database_at(url: str) -> dict[str, Any]:
    """Any database's URL as Django's dictionary. Raises ValueError and its like."""
    described = cast(dict[str, Any], environ.Env.db_url_config(url))
    if not described.get("ENGINE"):
        raise ValueError(urlsplit(url).scheme or url)
    return described


def hand_on(name: str, value: Path) -> None:
    """Set a variable for libraries that read it themselves, in this process and its children."""
    os.environ[name] = str(value)


def cores() -> int:
    """Cores this process may use, at least 1."""
    return len(os.sched_getaffinity(0))


def _noted(name: str, value: T) -> T:
    source: Literal["environment", "file", "default"] = "default"
    if name in _given:
        source = "environment"
    elif name in _filed:
        source = "file"
    shown = ("0", "1")[value] if isinstance(value, bool) else str(value)
    READ[name] = Read(name, shown, source)
    return value
