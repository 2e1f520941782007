"""The frames of the websocket as a JSON Schema, for those who write a client: `manage.py
protocol_schema` prints it, and it is kept in docs/protocol.schema.json.

What a page sends is read off the classes that it becomes (`chat.frames`). What the site sends is
said here, and held to by a test that looks at every frame of real turns.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from chat.context.count import MemoryState
from chat.files.schemas import FileOut, PassageOut
from chat.frames import MAX_CLIENT_ID, MAX_LIST, MAX_SEQ, VERSION, ClientFrame
from chat.schemas import UsageOut

Seq = Annotated[int, Field(ge=0, le=MAX_SEQ, description="Number of this event, or of the last.")]
Count = Annotated[int, Field(ge=0)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _FromSite(_Shape):
    v: Literal[1]


class _OfSession(_FromSite):
    seq: Seq
    session_id: UUID


class _OfAnswer(_OfSession):
    message_id: UUID


class Blocks(_Shape):
    """Rendered blocks: those from number `from` on are these."""

    begin: Count = Field(alias="from")
    html: list[str]


class SaidMessage(_Shape):
    id: UUID
    parent_id: UUID | None
    text: str
    html: str
    files: list[FileOut] = []


class BegunMessage(_Shape):
    id: UUID
    parent_id: UUID | None
    model: str
    text: str = Field(description="What it begins with, where its first tokens were given.")
    passages: list[PassageOut] = []


class Ready(_FromSite):
    type: Literal["ready"]


class TurnStarted(_OfSession):
    type: Literal["turn.started"]
    client_id: str | None
    title: str
    user_message: SaidMessage | None
    message: BegunMessage
    continued: bool


class MessageDelta(_OfAnswer):
    type: Literal["message.delta"]
    offset: Count = Field(description="Of the text in the message, in characters.")
    text: str
    blocks: Blocks | None = None


class MessageEnd(_OfAnswer):
    type: Literal["message.end"]
    status: Literal["DONE", "STOPPED", "FAILED"]
    finish_reason: str
    usage: UsageOut
    timings: dict[str, float]
    seed: int | None
    deterministic: bool
    error: dict[str, Any] | None
    can_continue: bool
    length: Count = Field(description="Of the whole message, in characters.")
    blocks: Blocks


class SessionOpened(_OfSession):
    type: Literal["session.opened"]
    live: bool
    shown: UUID | None


class SessionReset(_OfSession):
    type: Literal["session.reset"]


class BranchShown(_OfAnswer):
    type: Literal["branch.shown"]


class QueuePosition(_OfAnswer):
    type: Literal["queue.position"]
    position: Count


class _Waiting(_OfAnswer):
    done: Count
    total: Count


class ModelLoading(_Waiting):
    type: Literal["model.loading"]


class PromptProgress(_Waiting):
    type: Literal["prompt.progress"]


class ContextSummarising(_Waiting):
    type: Literal["context.summarising"]


class ContextCounted(_FromSite):
    type: Literal["context.counted"]
    client_id: str
    session_id: UUID | None
    model: str
    context_length: Count
    parts: dict[str, Count]
    left_out: Count
    when_full: Literal["refuse", "slide", "summarise"]
    memory: MemoryState
    summary: str
    begins: UUID | None


class SessionsChanged(_FromSite):
    type: Literal["sessions.changed"]
    session: dict[str, Any]


class SessionInspected(_FromSite):
    type: Literal["session.inspected"]
    session_id: UUID


class Error(_FromSite):
    type: Literal["error"]
    code: str
    message: str
    fields: dict[str, Any]
    retryable: bool
    retry_after_s: Count | None = None
    client_id: str | None = None


SiteFrame = (
    Ready
    | TurnStarted
    | MessageDelta
    | MessageEnd
    | SessionOpened
    | SessionReset
    | BranchShown
    | QueuePosition
    | ModelLoading
    | PromptProgress
    | ContextSummarising
    | ContextCounted
    | SessionsChanged
    | SessionInspected
    | Error
)


def schema() -> dict[str, Any]:
    """`$defs` by the type of a frame; FromPage and FromSite are any of one side."""
    site = TypeAdapter(SiteFrame).json_schema(by_alias=True)
    defs = site.pop("$defs")
    page = {}
    for kind in get_args(ClientFrame):
        name, shape = _from_page(kind)
        page[name] = shape
    known = {kind.__name__: kind for kind in get_args(SiteFrame)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Frames of the websocket, version {VERSION}",
        "anyOf": [{"$ref": "#/$defs/FromPage"}, {"$ref": "#/$defs/FromSite"}],
        "$defs": {
            "FromPage": {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in page]},
            "FromSite": {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in known]},
            **page,
            **defs,
        },
    }


def _from_page(kind: type[Any]) -> tuple[str, dict[str, Any]]:
    """A class of `chat.frames`. What is absent has its default, what nobody knows is ignored."""
    made = TypeAdapter(kind).json_schema(mode="validation")
    made.pop("$defs", None)
    for name, limits in _LIMITS.items():
        if name in made["properties"]:
            made["properties"][name] |= limits
    said = {"v": {"const": VERSION}, "type": {"const": _type_of(kind.__name__)}}
    made["properties"] = said | made["properties"]
    optional = {"session_id", "parent_id"} & {each.name for each in fields(kind)}
    nullable = {n for n in optional if "anyOf" in made["properties"][n]}
    needed = [name for name in made.get("required", []) if name not in nullable]
    return kind.__name__, {**made, "required": ["v", "type", *needed]}


_LIMITS: dict[str, dict[str, Any]] = {
    "client_id": {"minLength": 1, "maxLength": MAX_CLIENT_ID},
    "files": {"maxItems": MAX_LIST},
    "after": {"minimum": 0, "maximum": MAX_SEQ},
    "index": {"minimum": 0, "maximum": MAX_SEQ},
    "token_id": {"minimum": 0, "maximum": MAX_SEQ},
}


def _type_of(name: str) -> str:
    """TurnBranchToken: turn.branch_token."""
    first, *rest = re.findall(r"[A-Z][a-z]+", name)
    return f"{first.lower()}.{'_'.join(rest).lower()}"
