"""An answer as its caller wants it: whole, or as it is written."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Status

from chat.accounts.callers import check_again, owner_of
from chat.api_errors import refusal
from chat.api_v1.examples import FRAMES
from chat.database import in_database
from chat.event_stream import event_stream
from chat.generation import Accepted
from chat.message_tree import answer_begun, message_get

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
STREAM = {
    "responses": {
        200: {
            "description": "With `stream`: the frames of docs/protocol.md from turn.started to "
            "message.end.",
            "content": {"text/event-stream": {"example": FRAMES}},
        }
    }
}
"""What the document says of a stream, beside the answer as JSON."""


async def answered(
    request: HttpRequest, accepted: Accepted, *, stream: bool, status: int = 201
) -> Any:
    """The message, with this status, when it is complete; or its frames. If the caller leaves, and
    nobody else reads the session's events, the answer is stopped after TINYLLM_DISCONNECT_GRACE_S;
    its text is kept."""
    owner, session_id = owner_of(request), accepted.session_id
    if stream:
        return frames(request, session_id, after=accepted.seq - 1, one_turn=True)
    turn = accepted.live
    if turn is not None and turn.started.seq == accepted.seq:
        with turn.readers.one():
            await turn.wait_end()
        if turn.failure is not None:
            return refusal(turn.failure)
    message_id = await in_database(answer_begun, session_id=session_id, seq=accepted.seq)
    its = {"owner_id": owner, "session_id": session_id, "message_id": message_id}
    return Status(status, await in_database(message_get, **its))


def frames(
    request: HttpRequest, session_id: uuid.UUID, *, after: int, one_turn: bool = False
) -> StreamingHttpResponse:
    """The session's events above `after` as server-sent events."""
    stream = event_stream(
        owner_id=owner_of(request),
        session_id=session_id,
        after=after,
        check=partial(check_again, request),
        one_turn=one_turn,
    )
    return StreamingHttpResponse(stream, content_type="text/event-stream", headers=HEADERS)
