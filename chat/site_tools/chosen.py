"""The tools that TINYLLM_TOOLS names, loaded once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _

from chat.errors import InvalidRequest
from chat.plugins import installed, load
from chat.site_tools.kinds import GROUP, SiteTool


@cache
def tools() -> dict[str, SiteTool]:
    """By name. Raises ImproperlyConfigured."""
    return {name: _made(name) for name in settings.TINYLLM_TOOLS}


def named(names: Sequence[str] | None, param: str) -> dict[str, SiteTool]:
    """Those of these names; None: all. Raises InvalidRequest."""
    known = tools()
    missing = next((name for name in names or () if name not in known), None)
    if missing is not None or not known:
        raise InvalidRequest(
            _("This site runs no tool %(name)s. It runs: %(known)s.")
            % {"name": repr(missing or "")[:100], "known": ", ".join(known) or _("none")},
            param=param,
        )
    return {name: known[name] for name in (known if names is None else names)}


def _made(name: str) -> SiteTool:
    if name not in installed(GROUP):
        known = ", ".join(installed(GROUP)) or "none"
        raise ImproperlyConfigured(
            f"TINYLLM_TOOLS names {name!r}, which no installed project has in the group {GROUP}. "
            f"Installed: {known}."
        )
    made: Any = load(GROUP, name)()
    is_one = isinstance(getattr(made, "description", None), str) and callable(made)
    if not is_one or not isinstance(getattr(made, "parameters", None), dict):
        raise ImproperlyConfigured(
            f"The tool {name} ({GROUP}) must have a description, which is a text, and parameters, "
            "which are a JSON schema, and be callable."
        )
    tool: SiteTool = made
    return tool
