"""The websocket's frames as server-sent events, for clients that only speak HTTP."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from django.utils.translation import gettext as _

from chat.errors import InvalidRequest, wire
from chat.follow import Reading, followed
from chat.outlet import Composed, encode

NUMBERED = ("turn.started", "message.delta", "message.end", "session.reset")
"""Frames that a reader may name as the last one it has. The others have no number of their own."""


def last_event(header: str | None, after: int) -> int:
    """Where to go on: what the browser says by itself comes before the address. Raises
    InvalidRequest."""
    try:
        position = int(header) if header else after
    except ValueError:
        position = -1
    if not 0 <= position < 2**63:
        raise InvalidRequest(
            _("The last event must be a whole number of at least 0."), param="after"
        )
    return position


async def event_stream(
    *,
    owner_id: uuid.UUID,
    session_id: uuid.UUID,
    after: int,
    check: Callable[[], Awaitable[None]] | None = None,
    one_turn: bool = False,
) -> AsyncGenerator[bytes, None]:
    """Frames as they come; a comment as a ping while none comes; an error, then the end. `check`
    raises where the reader may no longer read, and is asked whenever there is a ping. one_turn: of
    the turn alone that the reader has just begun, and then the end."""
    reading = followed(Reading(owner_id, session_id, after, is_sender=one_turn))
    try:
        async with aclosing(reading) as events:
            async for event in events:
                if event is None and check is not None:
                    await check()
                yield b": ping\n\n" if event is None else encoded(event)
                if one_turn and event is not None and event.kind == "message.end":
                    return
    except Exception as error:
        told = {"v": 1, "type": "error", **wire(error).as_dict()}
        yield encoded(Composed("error", 0, encode(told)))


def encoded(event: Composed) -> bytes:
    number = f"id: {event.seq}\n" if event.kind in NUMBERED else ""
    return f"{number}event: {event.kind}\ndata: {event.text}\n\n".encode()
