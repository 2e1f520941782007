"""Shapes of bodies and answers under /api/v1/. Examples of each: `chat.api_v1.examples`.

A list is an object with `data`; one that comes in pages has `next_cursor` too, null on the last.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from ninja import Schema
from pydantic import Field

from chat import schemas
from chat.conversation_api import ShareOut
from chat.schemas import HitOut, SamplingIn, UsageOut
from chat.session_settings.schemas import Values

CURSOR = "The `next_cursor` of the page before; nothing for the first page."
_NEXT = "What `cursor` takes for the next page; null: this is the last one."


class SessionIn(Schema):
    model: str = Field("chat", description='A model of the catalogue, such as "chat" or "story".')
    title: str | None = Field(None, description="1 to 200 characters; null: of what is said first.")
    settings: Values | None = Field(
        None, description="As of PUT settings; null: the caller's default preset."
    )


class SessionOut(Schema):
    id: uuid.UUID
    title: str
    model: str = Field(description="The one that was spoken to last.")
    pinned: bool
    archived: bool
    folder_id: uuid.UUID | None
    forked_from_id: uuid.UUID | None = Field(description="The message that it is a copy up to.")
    created_at: datetime
    updated_at: datetime


class SessionStateOut(SessionOut):
    shown: uuid.UUID | None = Field(description="The message at the end of the branch shown.")
    running: uuid.UUID | None = Field(description="The answer that is being written.")
    last_event: int = Field(description="From this number on its events tell what is new.")


class SessionsOut(Schema):
    data: list[SessionOut]
    next_cursor: str | None = Field(description=_NEXT)


class SessionEditedOut(SessionOut):
    deleted: bool


class AnswerIn(SamplingIn):
    """How an answer is to be drawn, and given."""

    model: str | None = Field(None, description="null: the one that was spoken to last.")
    stream: bool = Field(
        False,
        description="true: server-sent events, frame by frame, up to message.end. false: one JSON "
        "object when the answer is complete.",
    )


class MessageIn(AnswerIn):
    input: str = Field(description="What to say; at most 1,000,000 characters.")
    parent_id: uuid.UUID | None = Field(
        None,
        description="The message that this one follows. Absent: the end of the branch that is "
        "shown. null: it begins another tree.",
    )
    files: list[uuid.UUID] = Field([], max_length=100, description="Of POST /api/files.")
    client_id: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="The caller's own name for this message. Sent again under it, as after a lost "
        "connection, the message is not said twice: the answer of the first time is given.",
    )


class MessageEditIn(AnswerIn):
    input: str = Field(description="What to say instead; at most 1,000,000 characters.")
    files: list[uuid.UUID] = Field([], max_length=100, description="Of POST /api/files.")


class ContinueIn(Schema):
    stream: bool = Field(False, description="As of POST messages.")


class MessageOut(schemas.MessageOut):
    shown: bool = Field(description="Whether it is in the branch that is shown.")
    generations: list[uuid.UUID] = Field(
        description="What wrote it, oldest first; more than one where it was continued."
    )


class MessagesOut(Schema):
    data: list[MessageOut]
    next_cursor: str | None = Field(description=_NEXT)


class StoppedOut(Schema):
    message_id: uuid.UUID | None = Field(
        description="The answer that was being written, whose text is kept; null: none was."
    )


class GenerationOut(Schema):
    """What wrote an answer, or a part of it, and with what. Its numbers are those of this part."""

    id: uuid.UUID
    session_id: uuid.UUID
    message_id: uuid.UUID
    status: str = Field(description="RUNNING, DONE, STOPPED or FAILED.")
    finish_reason: str
    model: str
    fingerprint: dict[str, Any] = Field(description="Of weights, tokenizer and template.")
    engine: dict[str, Any] = Field(description="What computed it: device, backend, dtype, compute.")
    sampling: dict[str, Any]
    seed: int | None
    deterministic: bool = Field(description="Nothing else had an influence on the tokens.")
    context: dict[str, Any] | None = Field(description="What the prompt had, and what it left out.")
    usage: UsageOut
    timings: dict[str, float] = Field(description="Seconds.")
    error: dict[str, Any] | None
    request_id: str
    created_at: datetime
    finished_at: datetime | None


class HitsOut(Schema):
    data: list[HitOut]


class SharesOut(Schema):
    data: list[ShareOut]
