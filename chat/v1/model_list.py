"""GET /v1/models and /v1/models/{id}: the models whose files are here."""

from __future__ import annotations

import time
from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse

from chat import engine
from chat.v1.edge import Caller, endpoint
from inference.errors import ModelNotFound
from inference.types import ModelInfo

_SINCE = int(time.time())
"""Clients want a time of creation; we know since when these are offered."""


@endpoint("GET")
async def models(request: HttpRequest, caller: Caller) -> HttpResponseBase:
    return JsonResponse({"object": "list", "data": [_model(info) for info in _ready()]})


@endpoint("GET")
async def model(request: HttpRequest, caller: Caller, name: str) -> HttpResponseBase:
    """With the most tokens that it reads and writes together."""
    for info in _ready():
        if info.name == name:
            codec = await engine.client().codec(name)
            return JsonResponse({**_model(info), "max_model_len": codec.context_length})
    raise ModelNotFound(name[:200], [info.name for info in _ready()])


def _ready() -> list[ModelInfo]:
    return [info for info in engine.client().models() if info.state == "ready"]


def _model(info: ModelInfo) -> dict[str, Any]:
    return {
        "id": info.name,
        "object": "model",
        "created": _SINCE,
        "owned_by": "tinyllm",
        "kind": str(info.kind),
        "languages": list(info.languages),
    }
