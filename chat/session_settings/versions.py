"""What presets were: each change of one keeps the version before, and a generation says which
version it ran with.

A session takes over a preset's values and not the preset, so that it is the values by which a turn
finds the version: whoever changed one of them after taking them over runs with none.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any

from chat.models import Preset, PresetVersion

KEPT = 50
"""Versions of a preset; then the oldest goes."""


def digest(settings: Mapping[str, Any]) -> str:
    told = json.dumps(settings, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(told.encode()).hexdigest()


def version_keep(preset: Preset) -> None:
    """In the transaction that saves it. What it is, unless the newest version is the same."""
    its = PresetVersion.objects.filter(preset=preset)
    newest = its.first()
    if newest and (newest.name, newest.settings) == (preset.name, preset.settings):
        return
    PresetVersion.objects.create(
        preset=preset,
        number=newest.number + 1 if newest else 1,
        name=preset.name,
        settings=preset.settings,
        digest=digest(preset.settings),
    )
    its.filter(number__lte=newest.number + 1 - KEPT if newest else 0).delete()


def version_of(*, owner_id: uuid.UUID, settings: Mapping[str, Any] | None) -> int | None:
    """The id of the newest version, of any preset of this person, with these settings. A session
    without any asks nothing."""
    if not settings:
        return None
    same = PresetVersion.objects.filter(preset__owner_id=owner_id, digest=digest(settings))
    return same.order_by("-created_at").values_list("id", flat=True).first()
