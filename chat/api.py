"""REST under /api/, documented at /api/docs (which loads nothing from elsewhere)."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

from csp.decorators import csp_update
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header
from ninja import NinjaAPI, Status

from chat import engine, live_settings, operator_key, selectors
from chat.accounts.callers import caller_of, check_again, owner_of
from chat.accounts.tokens import Scope
from chat.addresses import API
from chat.api_errors import answer_errors, refusal
from chat.conversation_api import router as conversations
from chat.database import in_database
from chat.errors import SessionNotFound
from chat.event_stream import event_stream, last_event
from chat.export import as_markdown, exported
from chat.files.api import router as files
from chat.generation import turns
from chat.glass.api import router as glass
from chat.imports.api import router as imports
from chat.learn.api import router as learn
from chat.saved_prompts.api import router as saved_prompts
from chat.schemas import (
    BranchIn,
    ChatIn,
    ChatOut,
    EditedOut,
    EditIn,
    EngineStatusOut,
    ErrorOut,
    HitOut,
    SessionDetailOut,
    SessionOut,
    UsageOfDaysOut,
    UsageOut,
)
from chat.search import search
from chat.session_edits import Edit, edit
from chat.session_pages import session_page
from chat.session_settings.api import router as settings_router
from chat.submission import Submission
from chat.usage import usage_of

_REFUSALS = dict.fromkeys((400, 401, 403, 404, 409, 413, 415, 429, 500, 503), ErrorOut)


async def _owner(request: HttpRequest) -> uuid.UUID:
    """Whose request this is. Raises as `caller_of` does."""
    return (await caller_of(request)).owner_id


api = NinjaAPI(
    title="TinyLLM",
    version="1",
    urls_namespace=API,
    auth=_owner,
    docs_url="/docs",
    # Swagger's stylesheet has its icons in itself.
    docs_decorator=csp_update({"img-src": ["data:"]}),
)
for _router in (settings_router, conversations, imports, glass, learn, saved_prompts):
    api.add_router("", _router)
api.add_router("/files", files)
answer_errors(api)


@api.post("/chat", response={200: ChatOut, **_REFUSALS})
async def chat(request: HttpRequest, body: ChatIn) -> ChatOut | HttpResponse:
    """Say something and wait for the whole answer. If the caller leaves, and nobody else reads the
    session's events, the answer is stopped after TINYLLM_DISCONNECT_GRACE_S; its text is kept."""
    given = body.model_dump(exclude={"input", "model", "session_id", "files"}, exclude_none=True)
    model = body.model or live_settings.value("TINYLLM_DEFAULT_MODEL")
    submission = Submission(
        text=body.input,
        model=model,
        session_id=body.session_id,
        newest=True,
        attended=True,
        files=tuple(body.files),
        sampling=given,
    )
    accepted = await turns().submit(owner_id=owner_of(request), submission=submission)
    assert accepted.live is not None
    turn = accepted.live
    with turn.readers.one():
        end = await turn.wait_end()
    if turn.failure is not None:
        return refusal(turn.failure)
    return ChatOut(
        session_id=accepted.session_id,
        response=turn.own_text,
        model=model,
        message_id=turn.started.message_id,
        finish_reason=end["finish_reason"],
        usage=UsageOut(**end["usage"]),
    )


@api.get("/sessions", response={200: list[SessionOut], 400: ErrorOut, 401: ErrorOut})
async def sessions(
    request: HttpRequest,
    limit: int | None = None,
    before: str = "",
    archived: bool = False,
    folder: str = "",
) -> Any:
    """All of the caller's sessions, the one used last first. With `limit` (1 to 200) a page as the
    sidebar shows it: first the pinned ones, then so many others, archived ones apart; `before` is
    the `position` of the last one of the page before, `folder` the id of one to read alone."""
    owner = owner_of(request)
    if limit is None:
        return await in_database(lambda: list(selectors.session_list(owner_id=owner)))
    return await in_database(
        session_page, owner_id=owner, archived=archived, folder=folder, before=before, limit=limit
    )


@api.get("/search", response={200: list[HitOut], 400: ErrorOut, 401: ErrorOut})
async def find(request: HttpRequest, q: str) -> Any:
    """Titles and messages of the caller's sessions that have this text in them, newest first."""
    return await in_database(search, owner_id=owner_of(request), query=q)


@api.get("/sessions/{session_id}", response={200: SessionDetailOut, 401: ErrorOut, 404: ErrorOut})
async def session(request: HttpRequest, session_id: str) -> Any:
    """One session with the messages of the branch that is shown, an unfinished answer included."""
    return await _detail(owner_of(request), _uuid(session_id))


@api.put("/sessions/{session_id}/branch", response={200: SessionDetailOut, **_REFUSALS})
async def show_branch(request: HttpRequest, session_id: str, body: BranchIn) -> Any:
    """Show another branch: the one through this message that was shown last. POST /api/chat goes
    on with it, and open pages follow."""
    owner, known = owner_of(request), _uuid(session_id)
    await turns().show(owner_id=owner, session_id=known, message_id=body.message_id)
    return await _detail(owner, known)


async def _detail(owner: uuid.UUID, session_id: uuid.UUID) -> dict[str, Any]:
    found = await in_database(selectors.conversation, owner_id=owner, session_id=session_id)
    messages = [*found.messages, *([found.live_message] if found.live_message else [])]
    row = found.session
    shown = {name: getattr(row, name) for name in SessionOut.model_fields}
    return {**shown, "messages": messages}


@api.patch("/sessions/{session_id}", response={200: EditedOut, **_REFUSALS})
async def edit_session(request: HttpRequest, session_id: str, body: EditIn) -> Any:
    """Rename, pin, archive, or delete with a way back. All pages of the owner are told."""
    changes = Edit(**body.model_dump())
    return await edit(owner_id=owner_of(request), session_id=_uuid(session_id), changes=changes)


@api.delete("/sessions/{session_id}", response={204: None, 401: ErrorOut, 404: ErrorOut})
async def delete_session(request: HttpRequest, session_id: str) -> Status[None]:
    """Delete a session and all its messages. An answer that is being written is stopped first."""
    await turns().delete(owner_id=owner_of(request), session_id=_uuid(session_id))
    return Status(204, None)


@api.get("/sessions/{session_id}/export", response={200: None, 401: ErrorOut, 404: ErrorOut})
async def export(
    request: HttpRequest, session_id: str, form: Literal["json", "markdown"] = "json"
) -> HttpResponse:
    """All branches of a session as a file, with numbers and times."""
    owner, known = owner_of(request), _uuid(session_id)
    told = await in_database(exported, owner_id=owner, session_id=known)
    name = told["session"]["title"][:60] or str(known)
    if form == "json":
        text = json.dumps(told, cls=DjangoJSONEncoder, ensure_ascii=False, indent=2) + "\n"
        kind, end = "application/json", "json"
    else:
        text, kind, end = as_markdown(told), "text/markdown; charset=utf-8", "md"
    disposition = content_disposition_header(True, f"{name}.{end}".replace("/", "-"))
    return HttpResponse(text, kind, headers={"Content-Disposition": disposition})


@api.get("/sessions/{session_id}/events", response={200: None, 401: ErrorOut, 404: ErrorOut})
async def events(request: HttpRequest, session_id: str, after: int = 0) -> StreamingHttpResponse:
    """The session's events as server-sent events: those above Last-Event-ID (or `after`), then
    live. The same frames as on the websocket; `id` is the event's number, `event` its type."""
    owner, known = owner_of(request), _uuid(session_id)
    await in_database(selectors.session_get, owner_id=owner, session_id=known)
    position = last_event(request.headers.get("last-event-id"), after)
    check = partial(check_again, request)
    return StreamingHttpResponse(
        event_stream(owner_id=owner, session_id=known, after=position, check=check),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _staff(request: HttpRequest) -> bool:
    """Where there are accounts, staff only, and commands of this machine. Raises as `caller_of`
    does."""
    if not operator_key.is_valid(request.headers.get("authorization", "")):
        await caller_of(request, scope=Scope.ADMIN)
    return True


@api.get("/engine", auth=_staff, response={200: EngineStatusOut, 403: ErrorOut, **_REFUSALS})
async def engine_status(request: HttpRequest) -> Any:
    """The models in memory and what they do. Where there are accounts, for staff only."""
    return asdict(await engine.client().status())


@api.get("/usage", response={200: UsageOfDaysOut, 401: ErrorOut})
async def usage_of_days(request: HttpRequest) -> Any:
    """What the caller has used, today and in the last days, and may use."""
    return await in_database(usage_of, owner_id=owner_of(request))


def _uuid(text: str) -> uuid.UUID:
    """Something that cannot be a session's id is, to the caller, a session that does not exist."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise SessionNotFound(text[:100]) from None
