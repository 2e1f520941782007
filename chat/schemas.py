"""Shapes of the REST API's bodies. The OpenAPI document is made of these."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Any

from ninja import Schema
from pydantic import Field

from chat.files.schemas import FileOut, PassageOut


class ErrorDetail(Schema):
    message: str
    type: str
    param: str | None = None
    code: str


class ErrorOut(Schema):
    error: ErrorDetail


class SamplingIn(Schema):
    """Sampling values; one that is absent or null is the model's default."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool | None = None
    prompt_lookup: int | None = Field(
        None,
        description="The most tokens that are guessed from the text so far in one step; 0: none.",
    )


class ChatIn(SamplingIn):
    input: str = Field(description="What to say to the model; at most 1,000,000 characters.")
    model: str | None = Field(
        None,
        description='A model of the catalogue, such as "chat" or "story"; else the default one.',
    )
    session_id: uuid.UUID | None = Field(None, description="Go on with this session.")
    files: list[uuid.UUID] = Field(
        [], max_length=100, description="Files of POST /api/files, to be read with it."
    )


class UsageOut(Schema):
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int


class ChatOut(Schema):
    session_id: uuid.UUID
    response: str
    model: str
    message_id: uuid.UUID
    finish_reason: str
    usage: UsageOut


class DayOut(Schema):
    day: date
    turns: int
    prompt_tokens: int
    output_tokens: int


class UsageOfDaysOut(Schema):
    """Tokens of prompts and answers together, by UTC days."""

    used: int
    reserved: int = Field(description="Held by answers that are being written.")
    tokens_per_day: int | None = Field(description="null: no limit.")
    remaining: int | None
    resets_at: datetime
    running: int = Field(description="Answers that are being written.")
    concurrent_turns: int | None = Field(description="null: no limit.")
    days: list[DayOut] = Field(description="The last thirty, the newest first.")


class SessionOut(Schema):
    id: uuid.UUID
    title: str
    model: str
    created_at: datetime
    updated_at: datetime
    pinned: bool
    archived: bool
    folder_id: uuid.UUID | None
    position: str = Field(description="Its place in the list: what `before` takes.")


class EditIn(Schema):
    """What is to change; what is absent or null stays."""

    title: str | None = Field(None, description="A person's own title, of 1 to 200 characters.")
    pinned: bool | None = None
    archived: bool | None = Field(None, description="An archived session is not pinned.")
    deleted: bool | None = Field(
        None,
        description="true hides the session and deletes it half a minute later; false, until then, "
        "takes that back.",
    )
    folder: str | None = Field(None, description='The id of a folder; "": out of its folder.')


class HitOut(Schema):
    session_id: uuid.UUID
    title: str
    archived: bool
    message_id: uuid.UUID | None = Field(description="null where the title was found.")
    role: str
    at: datetime
    before: str = Field(description="Plain text before what was found.")
    match: str
    after: str


class EditedOut(SessionOut):
    deleted: bool


class MessageOut(Schema):
    id: uuid.UUID
    parent_id: uuid.UUID | None
    role: str
    content: str
    created_at: datetime
    versions: list[uuid.UUID] = Field(
        description="The messages in this place of the tree, this one among them, oldest first."
    )
    model: str
    status: str
    finish_reason: str
    usage: UsageOut | None
    timings: dict[str, float] | None
    seed: int | None
    deterministic: bool
    error: dict[str, Any] | None
    can_continue: bool
    files: list[FileOut]
    passages: list[PassageOut] = Field(description="Of files, that an answer was written with.")
    rating: int = Field(description="1 or -1 as the owner rated it, 0: not rated.")
    comment: str = Field(description="The reason that was given for the rating.")


class RequestStatusOut(Schema):
    """A request in the engine, without a word of its text. tenant: whose it is."""

    request_id: str
    tenant: str
    state: str = Field(description='"running" or "waiting".')
    prompt_tokens: int
    read_tokens: int
    cached_tokens: int
    output_tokens: int
    age_s: float
    tokens_per_s: float


class TotalsOut(Schema):
    """Since the model was loaded."""

    requests: int
    prompt_tokens: int
    output_tokens: int


class ModelStatusOut(Schema):
    names: list[str] = Field(description="All names that the model goes by.")
    state: str = Field(description='"ready", or "loading" while it is on its way into memory.')
    device: str
    size: int = Field(description="Bytes of weights, cache and what is computed in.")
    running: int
    waiting: int
    used_blocks: int
    total_blocks: int
    stays_s: float | None = Field(
        description="Seconds until it is unloaded if nobody asks for it; null: not while it is "
        "used, or never."
    )
    cached_blocks: int = Field(description="Free ones with a text that may come again.")
    weights: int = Field(description="Bytes.")
    cache: int = Field(description="Bytes.")
    totals: TotalsOut
    requests: list[RequestStatusOut]


class ProcessStatusOut(Schema):
    pid: int
    memory: int = Field(description="Bytes of RAM that the process holds.")
    gpu_used: int = Field(description="Bytes of the GPU's memory that anybody holds; 0: no GPU.")
    gpu_total: int


class EngineStatusOut(Schema):
    models: list[ModelStatusOut]
    budget: int = Field(description="Bytes that all models together may take.")
    process: ProcessStatusOut | None = Field(description="The one that computes.")


class BranchIn(Schema):
    message_id: uuid.UUID = Field(description="Any message of the session.")


class SessionDetailOut(SessionOut):
    messages: list[MessageOut]
