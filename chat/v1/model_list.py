"""GET /v1/models and /v1/models/{id}: the models whose files are here, sentence models after those
that write."""

from __future__ import annotations

import asyncio
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
    sentences = await asyncio.to_thread(engine.sentence_models().names)
    data = [_model(info) for info in _ready()] + [_sentence_model(each) for each in sentences]
    return JsonResponse({"object": "list", "data": data})


@endpoint("GET")
async def model(request: HttpRequest, caller: Caller, name: str) -> HttpResponseBase:
    """With the most tokens that it reads and writes together."""
    for info in _ready():
        if info.name == name:
            codec = await engine.client().codec(name)
            return JsonResponse({**_model(info), "max_model_len": codec.context_length})
    found = await asyncio.to_thread(engine.sentence_models().get, name)
    if found:
        told = {**_sentence_model(name), "max_model_len": found.context_length}
        return JsonResponse(told)
    raise ModelNotFound(name[:200], [info.name for info in _ready()])


def _ready() -> list[ModelInfo]:
    return [info for info in engine.client().models() if info.state == "ready"]


def _model(info: ModelInfo) -> dict[str, Any]:
    return {**_entry(info.name, str(info.kind)), "languages": list(info.languages)}


def _sentence_model(name: str) -> dict[str, Any]:
    return {**_entry(name, "embedding"), "languages": []}


def _entry(name: str, kind: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": _SINCE,
        "owned_by": "tinyllm",
        "kind": kind,
    }
