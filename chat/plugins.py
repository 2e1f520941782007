"""Code of other projects that the site may use, found by their entry points: the site's half of
`inference/plugins.py`. Installing one loads nothing; it is loaded where a setting names it."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from django.core.exceptions import ImproperlyConfigured

FILTERS = "tinyllm.filters"
"""A class or function that is called without arguments and gives a
`chat.filtering.kinds.ContentFilter`."""


def installed(group: str) -> list[str]:
    """Names, in order; nothing is loaded."""
    return sorted(entry_points(group=group).names)


def load(group: str, name: str) -> Any:
    """What the entry point names. Raises ImproperlyConfigured."""
    (point,) = entry_points(group=group, name=name)
    whose = f" of {point.dist.name} {point.dist.version}" if point.dist else ""
    try:
        return point.load()
    except Exception as error:  # whatever a stranger's module does when it is imported
        raise ImproperlyConfigured(
            f"The plugin {name} ({group}{whose}) cannot be loaded: {type(error).__name__}: {error}"
        ) from error
