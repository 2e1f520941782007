"""Shapes of bodies under /api/ that speak of settings and presets."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from ninja import Schema
from pydantic import Field

# Values are not declared one by one: a wrong one is to be named as it was given, with what is
# allowed, by the same code as everywhere.
Values = dict[str, Any]
_VALUES = (
    "What the person chose; what is absent is the model's default. system_prompt, temperature, "
    "top_k, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty, seed, "
    'max_tokens, stop, when_full ("refuse", "slide" or "summarise").'
)


class SettingsIn(Schema):
    settings: Values = Field(description=_VALUES)


class SettingsOut(SettingsIn):
    pass


class SessionSettingsOut(SettingsIn):
    model: str
    defaults: Values = Field(description="The sampling of the session's model where nothing is.")


class PresetIn(Schema):
    name: str = Field(description="1 to 80 characters, of its own among the caller's presets.")
    settings: Values = Field(description=_VALUES)


class PresetEditIn(Schema):
    """What is to change; what is absent or null stays."""

    name: str | None = None
    settings: Values | None = None
    is_default: bool | None = Field(None, description="New sessions begin with it.")


class PresetOut(Schema):
    id: uuid.UUID
    name: str
    settings: Values
    is_default: bool


class PresetVersionOut(Schema):
    number: int
    name: str = Field(description="That the preset had then.")
    settings: Values
    created_at: datetime
