"""Messages: read as a tree; said, edited, answered again, gone on with, stopped."""

from __future__ import annotations

import uuid
from typing import Any, Literal

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Router
from ninja.params.functions import Query

from chat import selectors
from chat.accounts.callers import owner_of
from chat.api_v1.answers import STREAM, answered, frames
from chat.api_v1.edge import ANSWERING, MESSAGE, MESSAGES, ONE, SESSION, WRITING
from chat.api_v1.schemas import (
    CURSOR,
    AnswerIn,
    ContinueIn,
    MessageEditIn,
    MessageIn,
    MessageOut,
    MessagesOut,
    StoppedOut,
)
from chat.database import in_database
from chat.event_stream import last_event
from chat.generation import turns
from chat.message_tree import message_get, message_page, parent_of
from chat.schemas import SamplingIn
from chat.submission import Regeneration, Submission

router = Router(tags=["messages"])


@router.get(MESSAGES, response={200: MessagesOut, **ONE})
async def list_messages(
    request: HttpRequest,
    session_id: uuid.UUID,
    limit: int = Query(50, ge=1, le=200),
    cursor: str = Query("", description=CURSOR),
    branch: Literal["all", "shown"] = "all",
) -> Any:
    """The oldest first. All are one tree by their `parent_id`; `versions` are those in the same
    place of it, and `shown` says which of them a person sees."""
    rows, has_more = await in_database(
        message_page,
        owner_id=owner_of(request),
        session_id=session_id,
        after=cursor,
        limit=limit,
        shown_only=branch == "shown",
    )
    return {"data": rows, "next_cursor": str(rows[-1]["id"]) if has_more else None}


@router.get(MESSAGE, response={200: MessageOut, **ONE})
async def read_message(request: HttpRequest, session_id: uuid.UUID, message_id: uuid.UUID) -> Any:
    """One message, an unfinished answer with the text so far."""
    its = {"owner_id": owner_of(request), "session_id": session_id, "message_id": message_id}
    return await in_database(message_get, **its)


@router.post(MESSAGES, response={201: MessageOut, **ANSWERING}, openapi_extra=STREAM)
async def post_message(request: HttpRequest, session_id: uuid.UUID, body: MessageIn) -> Any:
    """Say something, and get the answer. If the caller leaves, and nobody else reads the session's
    events, the answer is stopped after TINYLLM_DISCONNECT_GRACE_S; its text is kept."""
    submission = Submission(
        text=body.input,
        model=await _model(request, session_id, body),
        session_id=session_id,
        parent_id=body.parent_id,
        newest="parent_id" not in body.model_fields_set,
        attended=True,
        client_id=body.client_id,
        files=tuple(body.files),
        sampling=_sampling(body),
    )
    accepted = await turns().submit(owner_id=owner_of(request), submission=submission)
    return await answered(request, accepted, stream=body.stream)


@router.post(MESSAGE + "/edit", response={201: MessageOut, **ANSWERING}, openapi_extra=STREAM)
async def edit_message(
    request: HttpRequest, session_id: uuid.UUID, message_id: uuid.UUID, body: MessageEditIn
) -> Any:
    """Say something else in place of a message of the user's. The old one stays, as another
    version, with all that followed it."""
    owner = owner_of(request)
    its = {"owner_id": owner, "session_id": session_id}
    submission = Submission(
        text=body.input,
        model=await _model(request, session_id, body),
        session_id=session_id,
        parent_id=await in_database(parent_of, **its, message_id=message_id),
        attended=True,
        files=tuple(body.files),
        sampling=_sampling(body),
    )
    accepted = await turns().submit(owner_id=owner, submission=submission)
    return await answered(request, accepted, stream=body.stream)


@router.post(MESSAGE + "/regenerate", response={201: MessageOut, **ANSWERING}, openapi_extra=STREAM)
async def regenerate_message(
    request: HttpRequest, session_id: uuid.UUID, message_id: uuid.UUID, body: AnswerIn
) -> Any:
    """Another answer beside this one, by any model."""
    regeneration = Regeneration(
        session_id=session_id,
        message_id=message_id,
        model=await _model(request, session_id, body),
        sampling=_sampling(body),
        attended=True,
    )
    accepted = await turns().regenerate(owner_id=owner_of(request), regeneration=regeneration)
    return await answered(request, accepted, stream=body.stream)


@router.post(MESSAGE + "/continue", response={200: MessageOut, **ANSWERING}, openapi_extra=STREAM)
async def continue_message(
    request: HttpRequest, session_id: uuid.UUID, message_id: uuid.UUID, body: ContinueIn
) -> Any:
    """Go on with an answer that was stopped, failed or reached its length."""
    its = {"owner_id": owner_of(request), "session_id": session_id, "message_id": message_id}
    accepted = await turns().resume(**its, attended=True)
    return await answered(request, accepted, stream=body.stream, status=200)


@router.post(SESSION + "/stop", response={200: StoppedOut, **WRITING})
async def stop_session(request: HttpRequest, session_id: uuid.UUID) -> Any:
    """End the answer that is being written, in whichever branch, and keep its text."""
    turn = await turns().stop(owner_id=owner_of(request), session_id=session_id)
    if turn is not None:
        await turn.wait_end()
    return {"message_id": turn and turn.started.message_id}


_EVENTS = {"responses": {200: STREAM["responses"][200] | {"description": "Until it is closed."}}}


@router.get(SESSION + "/events", response={200: None, **ONE}, openapi_extra=_EVENTS)
async def follow_session(
    request: HttpRequest, session_id: uuid.UUID, after: int = Query(0, ge=0)
) -> StreamingHttpResponse:
    """The session's events as server-sent events: those above Last-Event-ID (or `after`), then
    live. `id` is the event's number: whoever comes back with the last one misses nothing."""
    its = {"owner_id": owner_of(request), "session_id": session_id}
    await in_database(selectors.session_get, **its)
    position = last_event(request.headers.get("last-event-id"), after)
    return frames(request, session_id, after=position)


async def _model(request: HttpRequest, session_id: uuid.UUID, body: AnswerIn) -> str:
    """Raises SessionNotFound."""
    if body.model is not None:
        return body.model
    its = {"owner_id": owner_of(request), "session_id": session_id}
    return (await in_database(selectors.session_get, **its)).model


def _sampling(body: SamplingIn) -> dict[str, Any]:
    return body.model_dump(include=set(SamplingIn.model_fields), exclude_none=True)
