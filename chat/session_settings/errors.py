"""What can be wrong with settings and presets."""

from __future__ import annotations

from django.utils.translation import gettext as _

from chat.errors import ChatError, InvalidRequest


def sayable(text: str) -> str:
    """Short, and without half of a surrogate pair, which no answer could carry."""
    return text[:60].encode(errors="backslashreplace").decode()


class InvalidSetting(InvalidRequest):
    """Fields: param, value, allowed."""

    code = "invalid_setting"

    def __init__(self, param: str, label: str, value: object, allowed: str) -> None:
        shown = sayable(value if isinstance(value, str) else repr(value))
        super().__init__(
            _("%(label)s cannot be %(value)s. Allowed: %(allowed)s.")
            % {"label": label, "value": f"“{shown}”", "allowed": allowed},
            param=param,
            value=shown,
            allowed=allowed,
        )


class PresetNotFound(ChatError):
    """Also said of another person's preset."""

    code = "preset_not_found"
    status = 404

    def __init__(self, preset_id: object) -> None:
        super().__init__(_("This preset is no longer there."), preset_id=str(preset_id))


class VersionNotFound(ChatError):
    code = "version_not_found"
    status = 404

    def __init__(self, number: int) -> None:
        super().__init__(_("The preset has no version %(n)d.") % {"n": number}, version=number)


class PresetNameTaken(ChatError):
    code = "preset_name_taken"
    status = 409

    def __init__(self, name: str) -> None:
        super().__init__(
            _("You already have a preset called “%(name)s”.") % {"name": name}, param="name"
        )
