"""/admin/engine/: what the engine does at this moment. Numbers and names, never a text."""

from __future__ import annotations

import os
import time
import uuid
from typing import Any

from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from chat import audit, engine
from chat.database import in_database, write_database
from chat.errors import wire
from chat.generation import turns
from chat.operations.load_history import history
from chat.operations.rights import OPERATE, VIEW, admin_page, answer, page
from chat.user_keys import parsed
from inference.errors import EngineError
from inference.types import EngineStatus, ModelStatus


@page(VIEW)
@require_GET
def engine_page(request: HttpRequest) -> HttpResponse:
    may = {"may_operate": request.user.has_perm(OPERATE)}
    return admin_page(request, "admin/chat/engine.html", _("Engine"), may)


@require_GET
@answer(VIEW)
async def engine_status(request: HttpRequest) -> HttpResponse:
    """All that the page shows, as JSON."""
    now = time.monotonic()
    told: dict[str, Any] = {"history": history.told(now), "server_memory": engine.memory_held()}
    try:
        status = await engine.client().status()
    except EngineError as error:
        return JsonResponse({**told, "error": wire(error).message})
    return JsonResponse({**told, **await _told(status)})


@answer(OPERATE)
@require_POST
async def cancel_generation(request: HttpRequest, generation_id: uuid.UUID) -> HttpResponse:
    """By the road that every cancel takes. stopped: 0 where it is over already."""
    stopped = await turns().cancel_generations({generation_id})
    if stopped:
        await write_database(
            audit.record, "generation.cancel", target_type="generation", target_id=generation_id
        )
    return JsonResponse({"stopped": stopped})


async def _told(status: EngineStatus) -> dict[str, Any]:
    names = await in_database(_names, {r.tenant for m in status.models for r in m.requests})
    generations = turns().generations_by_request()
    process = status.process
    return {
        "models": [_model(model) for model in status.models],
        "requests": [
            {
                "generation": generations.get(request.request_id),
                "who": names.get(request.tenant, request.tenant),
                "model": model.names[0],
                "state": request.state,
                "prompt": request.prompt_tokens,
                "read": request.read_tokens,
                "cached": request.cached_tokens,
                "output": request.output_tokens,
                "age_s": round(request.age_s, 1),
                "speed": round(request.tokens_per_s, 1),
            }
            for model in status.models
            for request in model.requests
        ],
        "budget": status.budget,
        "held": sum(model.size for model in status.models),
        "engine_memory": process.memory if process and process.pid != os.getpid() else 0,
        "gpu_used": process.gpu_used if process else 0,
        "gpu_total": process.gpu_total if process else 0,
    }


def _model(model: ModelStatus) -> dict[str, Any]:
    free = model.total_blocks - model.used_blocks - model.cached_blocks
    return {
        "name": ", ".join(model.names),
        "state": model.state,
        "device": {"cuda": "GPU"}.get(model.device, model.device.upper()),
        "size": model.size,
        "weights": model.weights,
        "cache": model.cache,
        "running": model.running,
        "waiting": model.waiting,
        "blocks": {"used": model.used_blocks, "cached": model.cached_blocks, "free": free},
        "map": model.block_map,
        "stays_s": model.stays_s,
        "in_use": bool(model.running or model.waiting),
    }


def _names(tenants: set[str]) -> dict[str, str]:
    """Of people, by what the engine calls them."""
    ids = []
    for tenant in tenants:
        try:
            ids.append(parsed(tenant))
        except ValueError:
            continue  # somebody else's request, such as a benchmark's
    people = get_user_model().objects
    rows = people.filter(pk__in=ids).values_list("pk", "username") if ids else ()
    return {str(pk): username for pk, username in rows}
