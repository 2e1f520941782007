"""Code of other projects that the engine may use, found by their entry points.

Installing a project puts its names into a list and runs nothing. Its code is loaded where a name is
asked for: an architecture or a sampler by the settings, a source by the catalogue. The site's own
half is `chat/plugins.py`. No torch here.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from inference.errors import EngineError

ARCHITECTURES = "tinyllm.architectures"
"""(config, weights, device) -> `inference.architectures.Architecture`, by the name that config.json
has of it."""
SAMPLERS = "tinyllm.samplers"
"""As `inference.sampler.sample`: (logits fp32[V], params, *, prompt, output, seed) -> token id."""
MODEL_SOURCES = "tinyllm.model_sources"
"""(**fields of the catalogue) -> an object with `fill(*, parts, build, progress)`, which puts a
model's files into the folder `build`, or raises `inference.http_client.SourceError`."""

GROUPS = (ARCHITECTURES, SAMPLERS, MODEL_SOURCES, "tinyllm.filters", "tinyllm.tools")


class PluginFailed(EngineError):
    """A plugin that is asked for is not there, or does not load. Fields: group, name."""

    code = "plugin_failed"


def installed(group: str) -> dict[str, EntryPoint]:
    """By name; nothing is loaded."""
    return {point.name: point for point in entry_points(group=group)}


def all_installed() -> list[EntryPoint]:
    """Of every group of ours, the site's too."""
    return [point for group in GROUPS for point in entry_points(group=group)]


def load(group: str, name: str) -> Any:
    """What the entry point names. Raises PluginFailed."""
    found = [point for point in entry_points(group=group) if point.name == name]
    if not found:
        known = ", ".join(sorted(installed(group))) or "none"
        raise PluginFailed(
            f"No installed project has {name!r} in the group {group}. Installed: {known}.",
            group=group,
            name=name,
        )
    try:
        return found[0].load()
    except Exception as error:  # whatever a stranger's module does when it is imported
        raise PluginFailed(
            f"The plugin {described(found[0])} cannot be loaded: {type(error).__name__}: {error}",
            group=group,
            name=name,
        ) from error


def described(point: EntryPoint) -> str:
    """Its name, and whose it is."""
    whose = f" of {point.dist.name} {point.dist.version}" if point.dist else ""
    return f"{point.name} ({point.group}{whose})"
