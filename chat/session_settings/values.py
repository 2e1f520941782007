"""The settings of a session as stored: what a person chose, by name. What is not there is the
model's default, whatever model answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from django.utils.translation import gettext as _

from chat import sampling
from chat.errors import InvalidRequest, check_unicode
from chat.session_settings.errors import InvalidSetting, sayable
from chat.session_settings.fields import BY_NAME, MAX_SYSTEM_PROMPT, SAMPLING
from inference.errors import InvalidParameter
from inference.types import ModelKind, SamplingParams

WhenFull = Literal["refuse", "slide", "summarise"]
WHEN_FULL: tuple[WhenFull, ...] = ("refuse", "slide", "summarise")
_SAMPLING = {field.name for field in SAMPLING}

Settings = Mapping[str, Any]


def checked(given: object) -> dict[str, Any]:
    """Settings that may be stored, nulls and empty ones left out. Raises InvalidRequest for what is
    no setting, InvalidSetting for a value that is not allowed."""
    if not isinstance(given, Mapping):
        raise InvalidRequest(_("%(name)s must be an object.") % {"name": "settings"})
    unknown = sorted(set(given) - set(BY_NAME))
    if unknown:
        raise InvalidRequest(
            _("There is no setting called %(name)s. Known: %(known)s.")
            % {"name": repr(unknown[0])[:60], "known": ", ".join(BY_NAME)},
            param=sayable(unknown[0]),
        )
    kept = {name: _checked(name, value) for name, value in given.items() if value is not None}
    return {name: kept[name] for name in BY_NAME if kept.get(name) not in (None, "", [])}


def merged(defaults: SamplingParams, settings: Settings, given: Settings) -> SamplingParams:
    """What a turn is sampled with: the model's defaults, the session's settings, the request's.
    Raises InvalidRequest, InvalidParameter for what is wrong in `given`."""
    chosen = {name: value for name, value in settings.items() if name in _SAMPLING}
    return sampling.merged(sampling.merged(defaults, chosen), given)


def system_prompt(settings: Settings) -> str:
    return str(settings.get("system_prompt", ""))


def when_full(settings: Settings, kind: ModelKind = ModelKind.CHAT) -> WhenFull:
    """What was chosen. A story goes on where nothing was: nobody is answered there, and its model
    reads little."""
    chosen = settings.get("when_full", "slide" if kind is ModelKind.COMPLETION else "refuse")
    return next((each for each in WHEN_FULL if each == chosen), "refuse")


def _is_text(value: object) -> bool:
    """Without the one character that PostgreSQL does not keep."""
    return isinstance(value, str) and "\x00" not in value


def _checked(name: str, value: Any) -> Any:
    field = BY_NAME[name]

    def wrong() -> InvalidSetting:
        return InvalidSetting(name, str(field.label), value, str(field.allowed))

    if name == "system_prompt":
        if not _is_text(value) or len(value) > MAX_SYSTEM_PROMPT:
            raise wrong()
        check_unicode(name, value)
        return value.strip()
    if name == "when_full":
        if value not in WHEN_FULL:
            raise wrong()
        return value
    try:
        made = getattr(sampling.merged(SamplingParams(), {name: value}), name)
    except (InvalidParameter, InvalidRequest, TypeError):
        raise wrong() from None
    if name == "stop":
        if not all(map(_is_text, made)):
            raise wrong()
        for each in made:
            check_unicode(name, each)
        return list(made)
    return made
