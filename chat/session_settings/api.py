"""REST for the settings of a session, and for presets."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from chat import sampling, selectors
from chat.accounts.callers import owner_of
from chat.database import in_database, write_database
from chat.schemas import ErrorOut
from chat.session_settings import presets as store
from chat.session_settings.schemas import (
    PresetEditIn,
    PresetIn,
    PresetOut,
    PresetVersionOut,
    SessionSettingsOut,
    SettingsIn,
    SettingsOut,
)
from chat.session_settings.values import checked
from chat.submission import default_sampling

router = Router()
_REFUSALS = dict.fromkeys((400, 401, 404, 409, 415), ErrorOut)


@router.get("/sessions/{uuid:session_id}/settings", response={200: SessionSettingsOut, **_REFUSALS})
async def session_settings(request: HttpRequest, session_id: uuid.UUID) -> Any:
    """What was chosen for this session, and the model's defaults for the rest."""
    return await _told(owner_of(request), session_id)


@router.put("/sessions/{uuid:session_id}/settings", response={200: SessionSettingsOut, **_REFUSALS})
async def save_settings(request: HttpRequest, session_id: uuid.UUID, body: SettingsIn) -> Any:
    """All settings of the session, in place of those it had. They hold from the next turn on."""
    owner = owner_of(request)
    its = {"owner_id": owner, "session_id": session_id}
    await write_database(store.settings_save, **its, settings=body.settings)
    return await _told(owner, session_id)


@router.post("/settings/check", response={200: SettingsOut, **_REFUSALS})
async def check_settings(request: HttpRequest, body: SettingsIn) -> Any:
    """The settings as they would be stored. Nothing is: for a session that has not begun."""
    return {"settings": checked(body.settings)}


@router.get("/presets", response={200: list[PresetOut], **_REFUSALS})
async def presets(request: HttpRequest) -> Any:
    """The caller's, by name."""
    owner = owner_of(request)
    return await in_database(store.presets, owner_id=owner)


@router.post("/presets", response={200: PresetOut, **_REFUSALS})
async def create_preset(request: HttpRequest, body: PresetIn) -> Any:
    """Keep settings under a name."""
    return await write_database(
        store.preset_create, owner_id=owner_of(request), name=body.name, settings=body.settings
    )


@router.patch("/presets/{uuid:preset_id}", response={200: PresetOut, **_REFUSALS})
async def change_preset(request: HttpRequest, preset_id: uuid.UUID, body: PresetEditIn) -> Any:
    """Rename it, give it other settings, or let new sessions begin with it."""
    its: dict[str, Any] = {"owner_id": owner_of(request), "preset_id": preset_id}
    return await write_database(store.preset_change, **its, **body.model_dump())


@router.get(
    "/presets/{uuid:preset_id}/versions", response={200: list[PresetVersionOut], **_REFUSALS}
)
async def preset_versions(request: HttpRequest, preset_id: uuid.UUID) -> Any:
    """What it was, the newest first, which is what it is; the last 50."""
    return await in_database(store.versions, owner_id=owner_of(request), preset_id=preset_id)


@router.post(
    "/presets/{uuid:preset_id}/versions/{int:number}/restore",
    response={200: PresetOut, **_REFUSALS},
)
async def restore_version(request: HttpRequest, preset_id: uuid.UUID, number: int) -> Any:
    """Give it the settings that it had, as a new version."""
    its: dict[str, Any] = {"owner_id": owner_of(request), "preset_id": preset_id}
    return await write_database(store.version_restore, **its, number=number)


@router.delete("/presets/{uuid:preset_id}", response={204: None, **_REFUSALS})
async def delete_preset(request: HttpRequest, preset_id: uuid.UUID) -> Status[None]:
    """Sessions that have its settings keep them."""
    await write_database(store.preset_delete, owner_id=owner_of(request), preset_id=preset_id)
    return Status(204, None)


async def _told(owner: uuid.UUID, session_id: uuid.UUID) -> dict[str, Any]:
    found = await in_database(selectors.session_get, owner_id=owner, session_id=session_id)
    defaults = sampling.as_json(default_sampling(found.model))
    return {"model": found.model, "settings": found.settings or {}, "defaults": defaults}
