"""Frames of what is past, from the event log. Deltas of one turn are joined into one frame."""

from __future__ import annotations

import uuid
from itertools import groupby
from typing import Any

from chat.delta_rows import KIND as DELTA
from chat.delta_rows import first_number, offset_after
from chat.error_words import retold
from chat.models import Event, Message
from chat.outlet import Frame, frame
from chat.rendering import render_blocks
from chat.selectors import session_position
from chat.services import CRASH_STEP

_Row = tuple[int, str, dict[str, Any], uuid.UUID]


def replay(
    *, owner_id: uuid.UUID, session_id: uuid.UUID, after: int, until: int | None
) -> tuple[list[Frame], str | None]:
    """Events above `after`, up to `until` (None: all) as frames, and the end of the branch that is
    shown. Raises SessionNotFound.

    Events are read before the messages: a text may be longer than its events say, never shorter;
    and before the branch: it may be one that later events began, never one before them.
    """
    events = Event.objects.filter(session_id=session_id, seq__gt=after)
    if until is not None:
        events = events.filter(seq__lte=until)
    rows = list(
        events.order_by("seq").values_list("seq", "kind", "payload", "generation__message_id")
    )
    _last, shown = session_position(owner_id=owner_id, session_id=session_id)
    ids = {row[3] for row in rows}
    texts = dict(Message.objects.filter(id__in=ids).values_list("id", "content"))
    frames = [
        _frame(kind, list(group), texts.get(message_id, ""), session_id, after)
        for (kind, message_id), group in groupby(rows, key=lambda row: (row[1], row[3]))
    ]
    return frames, str(shown) if shown else None


def is_known(*, session_id: uuid.UUID, seq: int, last_seq: int) -> bool:
    """Whether a reader can be brought up to date from `seq`: the beginning, a logged event, or a
    number that a crash jumped to. Numbers that were jumped over are what a reader saw and the log
    never got."""
    if seq > last_seq:
        return False
    if seq % CRASH_STEP == 0:
        return True
    rows = Event.objects.filter(session_id=session_id, seq__gte=seq).order_by("seq")
    last, kind, payload = rows.values_list("seq", "kind", "payload").first() or (0, "", {})
    return last == seq or (kind == DELTA and first_number(last, payload) <= seq)


def _frame(kind: str, rows: list[_Row], text: str, session_id: uuid.UUID, after: int) -> Frame:
    seq, _kind, payload, message_id = rows[-1]
    if kind == DELTA:
        start = offset_after(rows[0][0], rows[0][2], after)
        end = payload["offset"] + len(payload["text"])
        return frame(
            DELTA,
            seq=seq,
            session_id=str(session_id),
            message_id=str(message_id),
            offset=start,
            text=text[start:end],
            blocks=_all_blocks(text[:end]),
        )
    if kind == "message.end":
        told = {**payload, "error": retold(payload["error"])}
        return frame(kind, seq=seq, **told, blocks=_all_blocks(text[: payload["length"]]))
    return started_frame(seq, payload)


def started_frame(seq: int, payload: dict[str, Any]) -> Frame:
    """turn.started as it goes out: the user's text rendered like any other."""
    said = payload["user_message"]
    if said is not None:
        said = {**said, "html": "".join(render_blocks(said["text"]))}
    return frame("turn.started", seq=seq, **{**payload, "user_message": said})


def _all_blocks(text: str) -> dict[str, Any]:
    return {"from": 0, "html": render_blocks(text)}
