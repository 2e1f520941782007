"""What a person does with settings: keep them with a session, or under a name.

Each write is one transaction; arguments are keyword-only.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from chat.errors import InvalidRequest, SessionNotFound, check_unicode
from chat.models import Preset, PresetVersion, sessions_of
from chat.own_names import by_name, is_taken
from chat.rows import is_empty
from chat.session_settings.errors import PresetNameTaken, PresetNotFound, VersionNotFound
from chat.session_settings.values import checked
from chat.session_settings.versions import version_keep

MAX_NAME = 80


def settings_save(
    *, owner_id: uuid.UUID, session_id: uuid.UUID, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """All of a session's settings, in place of those it had; a turn that runs is not touched.
    Raises SessionNotFound, InvalidRequest."""
    kept = checked(settings)
    if not sessions_of(owner_id).filter(id=session_id).update(settings=kept):
        raise SessionNotFound(session_id)
    return kept


def presets(*, owner_id: uuid.UUID) -> list[Preset]:
    """By name."""
    return by_name(Preset.objects.filter(owner_id=owner_id))


def default_settings(*, owner_id: uuid.UUID) -> dict[str, Any]:
    """What a new session of this person begins with."""
    if is_empty(Preset):
        return {}
    chosen = Preset.objects.filter(owner_id=owner_id, is_default=True)
    return chosen.values_list("settings", flat=True).first() or {}


@transaction.atomic
def preset_create(*, owner_id: uuid.UUID, name: str, settings: Mapping[str, Any]) -> Preset:
    """Raises PresetNameTaken, InvalidRequest."""
    made = Preset(owner_id=owner_id, name=_name(name), settings=checked(settings))
    return _saved(made)


@transaction.atomic
def preset_change(
    *,
    owner_id: uuid.UUID,
    preset_id: uuid.UUID,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    is_default: bool | None = None,
) -> Preset:
    """What is None stays; what was is kept as a version. The one that becomes the default takes the
    place of the one before.
    Raises PresetNotFound, PresetNameTaken, InvalidRequest."""
    mine = Preset.objects.filter(owner_id=owner_id)
    # All of them are locked: of two that become the default at once, one comes after the other.
    preset = next((each for each in mine.select_for_update() if each.id == preset_id), None)
    if preset is None:
        raise PresetNotFound(preset_id)
    version_keep(preset)
    if name is not None:
        preset.name = _name(name)
    if settings is not None:
        preset.settings = checked(settings)
    if is_default is not None:
        mine.filter(is_default=True).exclude(id=preset_id).update(is_default=False)
        preset.is_default = is_default
    return _saved(preset)


def versions(*, owner_id: uuid.UUID, preset_id: uuid.UUID) -> list[PresetVersion]:
    """The newest first. Raises PresetNotFound."""
    if not Preset.objects.filter(id=preset_id, owner_id=owner_id).exists():
        raise PresetNotFound(preset_id)
    return list(PresetVersion.objects.filter(preset_id=preset_id))


@transaction.atomic
def version_restore(*, owner_id: uuid.UUID, preset_id: uuid.UUID, number: int) -> Preset:
    """Give the preset the settings of a version, which makes a new one; its name stays. Raises
    PresetNotFound, VersionNotFound."""
    mine = PresetVersion.objects.filter(preset__owner_id=owner_id, preset_id=preset_id)
    version = mine.filter(number=number).first()
    if version is None:
        versions(owner_id=owner_id, preset_id=preset_id)
        raise VersionNotFound(number)
    return preset_change(owner_id=owner_id, preset_id=preset_id, settings=version.settings)


def preset_delete(*, owner_id: uuid.UUID, preset_id: uuid.UUID) -> None:
    """With its versions. Raises PresetNotFound."""
    deleted, _rows = Preset.objects.filter(id=preset_id, owner_id=owner_id).delete()
    if not deleted:
        raise PresetNotFound(preset_id)


def _saved(preset: Preset) -> Preset:
    if is_taken(owner_id=preset.owner_id, named=preset):
        raise PresetNameTaken(preset.name)
    preset.save()
    version_keep(preset)
    return preset


def _name(name: str) -> str:
    """On one line. Raises InvalidRequest."""
    line = " ".join(name.replace("\x00", "").split())
    check_unicode("name", line)
    if not 1 <= len(line) <= MAX_NAME:
        raise InvalidRequest(
            _("A name has 1 to %(most)d characters, not %(length)d.")
            % {"most": MAX_NAME, "length": len(line)},
            param="name",
        )
    return line
