"""Errors that reach the site in English, told in the reader's language by their code and fields.

The engine knows no languages, and a record's error was written when nobody was reading.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import get_language, gettext, gettext_noop

SERVER_STOPPED = gettext_noop(
    "The server stopped while this answer was being written. Its text was kept; "
    "you can continue it."
)
_UNUSABLE = gettext_noop("The model cannot be used: %(said)s")
_SENTENCES = {
    "server_stopped": SERVER_STOPPED,
    "context_length_exceeded": gettext_noop(
        "The conversation is %(prompt_tokens)s tokens long, but this model reads at most "
        "%(context_length)s and needs room for an answer. Nothing was cut: shorten the text "
        "or start a new session."
    ),
    "invalid_parameter": gettext_noop("%(param)s = %(value)s is not allowed: %(allowed)s."),
    "invalid_constraint": gettext_noop("%(param)s cannot be used: %(reason)s."),
    "model_not_found": gettext_noop("There is no model called %(model)s. Known models: %(known)s."),
    "model_unavailable": _UNUSABLE,
    "model_invalid": _UNUSABLE,
    "model_busy": gettext_noop("%(model)s is being used. Wait, or cancel its requests."),
    "model_not_generative": gettext_noop(
        "%(model)s is a sentence model: it makes vectors of texts and writes nothing."
    ),
    "unsupported_architecture": _UNUSABLE,
    "engine_stopped": gettext_noop("The engine is not running. Try again in a moment."),
    "engine_crashed": gettext_noop(
        "The engine has crashed and starts again (%(reason)s). The text so far is kept: try again."
    ),
    "device_unavailable": _UNUSABLE,
    "device_memory_too_small": _UNUSABLE,
    "memory_budget_too_small": _UNUSABLE,
    "queue_full": gettext_noop("Too many requests are waiting. Try again in a moment."),
    "deadline_exceeded": gettext_noop(
        "The answer was not done within %(seconds)s s and was ended. The text so far is kept: "
        "continue it, or try again when less is going on."
    ),
    "request_failed": gettext_noop("The engine failed at this answer: %(said)s"),
}


def in_words(*, code: str, fields: dict[str, Any], said: str) -> str:
    """The error in the reader's language. In English, and for an error that has no words here or
    lacks a field, as it was said."""
    if code not in _SENTENCES or (get_language() or "en").startswith("en"):
        return said
    values = {
        key: ", ".join(map(str, value)) if isinstance(value, list) else value
        for key, value in fields.items()
    }
    try:
        return gettext(_SENTENCES[code]) % {**values, "said": said}
    except KeyError:
        return said


def retold(error: dict[str, Any] | None) -> dict[str, Any] | None:
    """A recorded error (`WireError.as_dict`) for whoever reads it now."""
    if error is None:
        return None
    words = in_words(code=error["code"], fields=error["fields"], said=error["message"])
    return {**error, "message": words}
