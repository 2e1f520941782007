"""What the page's panel of settings shows and says."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from chat import sampling
from chat.session_settings.fields import BY_NAME, SAMPLING, SYSTEM_PROMPT, WHEN_FULL
from chat.session_settings.values import when_full
from inference.types import ModelInfo

_FIRST = ("temperature", "top_p", "max_tokens", "seed")
"""The others are behind a heading."""


def panel() -> dict[str, Any]:
    """For the template."""
    return {
        "system_prompt": SYSTEM_PROMPT,
        "first": [BY_NAME[name] for name in _FIRST],
        "more": [field for field in SAMPLING if field.name not in _FIRST],
        "when_full": WHEN_FULL,
    }


def defaults_of(model: ModelInfo) -> dict[str, Any]:
    """Of the fields that the panel has."""
    values = sampling.as_json(model.defaults)
    return {field.name: values[field.name] for field in SAMPLING} | {
        "when_full": when_full({}, model.kind)
    }


def panel_strings() -> dict[str, str]:
    """What its JavaScript says."""
    return {
        **_gauge(),
        "default_is": _("Model's default: {value}"),
        "own": _("Yours. Model's default: {value}"),
        "default_of_seed": _("a new one each time"),
        "default_of_max_tokens": _("until the context is full"),
        "default_of_stop": _("none"),
        "default_of_system_prompt": _("its template's own words, if any"),
        "settings_saved": _("Saved. It holds from the next answer on."),
        "settings_kept": _("Not saved yet: what you changed is still here."),
        "settings_not_saved": _("The settings could not be saved. Try again."),
        "settings_own": _("Set by you: {n}"),
        "preset_used": _("“{name}” is filled in. Save to use it."),
        "preset_saved": _("“{name}” was saved."),
        "preset_deleted": _("“{name}” was deleted."),
        "preset_default": _("New sessions begin with “{name}”."),
        "preset_no_default": _("New sessions begin with the model's defaults."),
        "preset_name": _("Name of the preset"),
        "preset_use": _("Use “{name}”"),
        "preset_rename": _("Rename “{name}”"),
        "preset_history": _("Versions of “{name}”"),
        "preset_version": _("Version {n}, {time}"),
        "preset_version_now": _("Version {n}, {time}, now"),
        "preset_version_use": _("Fill in"),
        "preset_version_restore": _("Restore"),
        "preset_restored": _("“{name}” is what it was in version {n}. Save to use it."),
        "preset_delete": _("Delete “{name}”"),
        "preset_star": _("Begin new sessions with “{name}”"),
        "presets_not_listed": _("The presets could not be read. Try again."),
    }


def _gauge() -> dict[str, str]:
    return {
        "context_used": _("Context {percent} % full"),
        "context_of": _("{used} of {total} tokens"),
        "context_left_out": _("The oldest {n} messages are no longer read."),
        "context_summarised": _("The oldest {n} messages are read as a summary."),
        "context_to_summarise": _("The oldest {n} messages will be summarised."),
        "context_refused": _("No room: the next message would be refused."),
        "context_tight": _("Little room is left for an answer."),
        "memory_begins": _("The model no longer reads what stands above this line."),
        "memory_summary": _("Summary of what came before"),
        "memory_to_summarise": _("What stands above this line will be summarised."),
        "memory_not_summarised": _(
            "What stands above this line could not be summarised, and is no longer read."
        ),
    }
