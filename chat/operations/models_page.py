"""/admin/models/: the models on this disk and in memory, fetched, loaded, unloaded, converted and
removed, one thing at a time."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import wait
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from chat import engine
from chat.errors import ChatError, InvalidRequest, wire
from chat.operations.model_work import Cancelled, Watched, work
from chat.operations.rights import OPERATE, VIEW, admin_page, answer, page
from inference.errors import EngineError, ModelNotFound

LISTEN_S = 0.2
"""How soon work that waits for the engine hears that it is cancelled."""
DTYPES = ("float32", "float16", "bfloat16")


@page(VIEW)
@require_GET
def models_page(request: HttpRequest) -> HttpResponse:
    may = {"may_operate": request.user.has_perm(OPERATE), "dtypes": DTYPES}
    return admin_page(request, "admin/chat/models.html", _("Models"), may)


@require_GET
@answer(VIEW)
async def models_status(request: HttpRequest) -> HttpResponse:
    told: dict[str, Any] = {"work": work.told()}
    memory: dict[str, str] = {}
    busy: set[str] = set()
    try:
        status = await engine.client().status()
        for model in status.models:
            memory.update(dict.fromkeys(model.names, model.state))
        busy = {name for m in status.models for name in m.names if m.running or m.waiting}
    except EngineError as error:
        told["error"] = wire(error).message
    told["models"] = await asyncio.to_thread(_models, memory, busy)
    return JsonResponse(told)


@answer(OPERATE)
@require_POST
async def models_act(request: HttpRequest, verb: str) -> HttpResponse:
    """Begin a piece of work, or cancel the one that is under way."""
    if verb == "cancel":
        return JsonResponse({"cancelled": work.cancel()})
    name = request.POST.get("name", "")
    try:
        _check_name(name)
        task = _TASKS[verb](name, request.POST.get("dtype", ""), asyncio.get_running_loop())
        work.start(verb, name, task)
    except (ChatError, EngineError) as error:
        told = wire(error)
        return JsonResponse({"error": told.message}, status=told.status)
    return JsonResponse({"started": True}, status=202)


def _check_name(name: str) -> None:
    """A path is for commands on this machine. Raises ModelNotFound."""
    store = engine.store()
    if "/" in name or name.startswith("."):
        raise ModelNotFound(name[:100], list(store.catalogue.entries))
    store.directory(name)


Task = Callable[[Watched], None]
Loop = asyncio.AbstractEventLoop


def _pull(name: str, dtype: str, loop: Loop) -> Task:
    def task(watched: Watched) -> None:
        engine.store().pull(name, watched)

    return task


def _load(name: str, dtype: str, loop: Loop) -> Task:
    return lambda watched: _on(loop, watched, engine.client().load(name))


def _unload(name: str, dtype: str, loop: Loop) -> Task:
    return lambda watched: _on(loop, watched, engine.client().unload(name))


def _remove(name: str, dtype: str, loop: Loop) -> Task:
    def task(watched: Watched) -> None:
        _on(loop, watched, engine.client().unload(name))
        engine.store().remove(name)

    return task


def _convert(name: str, dtype: str, loop: Loop) -> Task:
    """In a process of its own, which can be ended and takes its memory with it."""
    if dtype not in DTYPES:
        raise InvalidRequest(
            _("The precision must be one of %(known)s.") % {"known": ", ".join(DTYPES)},
            param="dtype",
        )
    source = engine.store().ready_directory(name).absolute()
    destination = source.with_name(f"{source.name}-{dtype}")
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "models", "convert"]
    arguments = [str(source), str(destination), "--dtype", dtype]
    return lambda watched: watched.run([*command, *arguments], cwd=settings.BASE_DIR)


def _on(loop: Loop, watched: Watched, asked: Any) -> None:
    """From the work's thread, on the loop that the engine's client belongs to. A model whose load
    has begun is loaded all the same where this is cancelled. Raises Cancelled, EngineError."""
    future = asyncio.run_coroutine_threadsafe(asked, loop)
    while not wait([future], timeout=LISTEN_S).done:
        try:
            watched.check()
        except Cancelled:
            future.cancel()
            raise
    future.result()


_TASKS = {
    "pull": _pull,
    "load": _load,
    "unload": _unload,
    "remove": _remove,
    "convert": _convert,
}
VERBS = (*_TASKS, "cancel")


def _models(memory: dict[str, str], busy: set[str]) -> list[dict[str, Any]]:
    """The catalogue's, then folders that are in no catalogue."""
    store = engine.store()
    own = {entry.weights for entry in store.catalogue.entries.values()}
    rows = []
    for info in store.infos():
        entry = store.catalogue.entries[info.name]
        row = _row(info.name, info.state, info.detail, store.size(info.name), memory, busy)
        rows.append(
            row
            | {
                "title": info.title,
                "license": info.license,
                "languages": ", ".join(info.languages),
                "download": entry.download_mb * 1_000_000,
                "shares": entry.weights if entry.weights != info.name else "",
            }
        )
    for path in sorted(store.models_dir.glob("*/config.json")):
        name = path.parent.name
        if name not in own and not name.startswith("."):
            state, detail = store.state(name)
            row = _row(name, state, detail, store.size(name), memory, busy)
            rows.append(
                row | {"title": "", "license": "", "languages": "", "download": 0, "shares": ""}
            )
    return rows


def _row(
    name: str, state: str, detail: str, size: int, memory: dict[str, str], busy: set[str]
) -> dict[str, Any]:
    """memory: empty, ready or loading."""
    return {
        "name": name,
        "state": state,
        "detail": detail,
        "size": size,
        "memory": memory.get(name, ""),
        "busy": name in busy,
    }
