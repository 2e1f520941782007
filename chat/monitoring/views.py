"""/healthz, /readyz, /health, /version and /metrics."""

from __future__ import annotations

import asyncio
import tomllib
from functools import cache
from pathlib import Path

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from chat import engine, operator_key
from chat.accounts.callers import caller_of
from chat.accounts.tokens import Scope
from chat.errors import ChatError
from chat.generation import turns
from chat.monitoring.engine_state import EngineState
from chat.monitoring.registry import REGISTRY
from inference.errors import EngineError
from inference.types import EngineStatus

PATIENCE_S = 2.0
"""How long an engine may take to answer: between two steps it always does."""
AGAIN_S = 5


@require_safe
@login_not_required
async def healthz(request: HttpRequest) -> HttpResponse:
    """Alive: this process answers."""
    return JsonResponse({"status": "ok"})


@require_safe
@login_not_required
async def readyz(request: HttpRequest) -> HttpResponse:
    """Ready: a message that came now would be answered. 503 while the models are on their way into
    memory, the engine is being started again, or the server is about to end."""
    reason = await _not_ready()
    if reason is None:
        return JsonResponse({"status": "ok"})
    answer = JsonResponse({"status": reason}, status=503)
    answer["Retry-After"] = str(AGAIN_S)
    return answer


@require_safe
@login_not_required
async def version(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"version": _version()})


@require_safe
@login_not_required
async def metrics(request: HttpRequest) -> HttpResponse:
    """In Prometheus' format. Where there are accounts, for staff, tokens of theirs with the scope
    admin, and commands of this machine."""
    if not await _may_look(request):
        return HttpResponse("Only staff may look at the metrics.\n", "text/plain", status=403)
    told = generate_latest(REGISTRY)
    status = await _status()
    if isinstance(status, EngineStatus):
        now = CollectorRegistry()
        now.register(EngineState(status))
        told += generate_latest(now)
    return HttpResponse(told, CONTENT_TYPE_LATEST)


async def _not_ready() -> str | None:
    if not turns().accepts:
        return "shutting_down"
    status = await _status()
    if isinstance(status, str):
        return status
    states = {model.state for model in status.models}
    return "loading" if states == {"loading"} else None


async def _status() -> EngineStatus | str:
    """What the engine does, or why it does not say."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await engine.client().status()
    except EngineError as error:
        return error.code
    except TimeoutError:
        return "engine_busy"


async def _may_look(request: HttpRequest) -> bool:
    if settings.TINYLLM_LOCAL or operator_key.is_valid(request.headers.get("authorization", "")):
        return True
    try:
        await caller_of(request, scope=Scope.ADMIN)
    except ChatError:
        return False
    return True


@cache
def _version() -> str:
    with (Path(__file__).parents[2] / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])
