"""Frames that a socket sends us, parsed once into typed objects; others are InvalidRequest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _

from chat.errors import InvalidRequest, check_unicode

VERSION = 1
MAX_CLIENT_ID = 64
MAX_LIST = 100
MAX_SEQ = 2**53 - 1


@dataclass(frozen=True, slots=True)
class SessionOpen:
    session_id: UUID
    after: int


@dataclass(frozen=True, slots=True)
class TurnSubmit:
    client_id: str
    session_id: UUID | None
    text: str
    model: str
    parent_id: UUID | None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] | None = None
    files: tuple[UUID, ...] = ()
    temporary: bool = False


@dataclass(frozen=True, slots=True)
class TurnStop:
    session_id: UUID


@dataclass(frozen=True, slots=True)
class TurnContinue:
    session_id: UUID
    message_id: UUID


@dataclass(frozen=True, slots=True)
class TurnRegenerate:
    session_id: UUID
    message_id: UUID
    model: str
    sampling: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TurnBranchToken:
    """Begin as that answer up to token `index` (counted from 0), and go on with `token_id` in its
    place."""

    session_id: UUID
    message_id: UUID
    index: int
    token_id: int


@dataclass(frozen=True, slots=True)
class TurnRewrite:
    """Another answer in the place of that one, which begins with `text` and is written on."""

    client_id: str
    session_id: UUID
    message_id: UUID
    text: str


@dataclass(frozen=True, slots=True)
class BranchShow:
    session_id: UUID
    message_id: UUID


@dataclass(frozen=True, slots=True)
class ContextCount:
    client_id: str
    session_id: UUID | None
    model: str
    text: str
    settings: Mapping[str, Any] | None = None


ClientFrame = (
    SessionOpen
    | TurnSubmit
    | TurnStop
    | TurnContinue
    | TurnRegenerate
    | TurnBranchToken
    | TurnRewrite
    | BranchShow
    | ContextCount
)


def parse(text: str) -> ClientFrame:
    """One frame. Raises InvalidRequest naming the field at fault."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequest(_("A frame must be JSON.")) from None
    if not isinstance(data, dict):
        raise InvalidRequest(_("A frame must be a JSON object."))
    if data.get("v") != VERSION or isinstance(data.get("v"), bool):
        raise InvalidRequest(
            _("This server speaks version %(known)d of the protocol, not %(given)s.")
            % {"known": VERSION, "given": repr(data.get("v"))[:40]},
            param="v",
            supported=VERSION,
        )
    fields = _Fields(data)
    match data.get("type"):
        case "session.open":
            return SessionOpen(fields.uuid("session_id"), fields.count("after"))
        case "turn.submit":
            return _submit(fields)
        case "turn.stop":
            return TurnStop(fields.uuid("session_id"))
        case "turn.continue":
            return TurnContinue(*fields.ids())
        case "turn.regenerate":
            return TurnRegenerate(*fields.ids(), fields.text("model"), fields.sampling())
        case "turn.branch_token":
            return TurnBranchToken(*fields.ids(), fields.count("index"), fields.count("token_id"))
        case "turn.rewrite":
            return TurnRewrite(fields.name(), *fields.ids(), fields.text("text"))
        case "branch.show":
            return BranchShow(*fields.ids())
        case "context.count":
            its = fields.name(), fields.optional_uuid("session_id")
            return ContextCount(*its, fields.text("model"), fields.text("text"), fields.settings())
        case other:
            raise InvalidRequest(
                _("There is no frame of type %(type)s.") % {"type": repr(other)[:40]}, param="type"
            )


def client_id(text: str) -> str | None:
    """The client_id of a frame that may be wrong otherwise, so that its sender finds its text."""
    try:
        value = json.loads(text).get("client_id")
    except (ValueError, RecursionError, AttributeError):
        return None
    return value if isinstance(value, str) and len(value) <= MAX_CLIENT_ID else None


def _submit(fields: _Fields) -> TurnSubmit:
    return TurnSubmit(
        client_id=fields.name(),
        session_id=fields.optional_uuid("session_id"),
        text=fields.text("text"),
        model=fields.text("model"),
        parent_id=fields.optional_uuid("parent_id"),
        sampling=fields.sampling(),
        settings=fields.settings(),
        files=fields.uuids("files"),
        temporary=fields.flag("temporary"),
    )


class _Fields:
    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    def wrong(self, name: str, allowed: str) -> InvalidRequest:
        return InvalidRequest(
            _("%(name)s must be %(allowed)s.") % {"name": name, "allowed": allowed}, param=name
        )

    def text(self, name: str) -> str:
        value = self.data.get(name)
        if not isinstance(value, str):
            raise self.wrong(name, _("text"))
        check_unicode(name, value)
        return value

    def name(self) -> str:
        name = self.text("client_id")
        if not 0 < len(name) <= MAX_CLIENT_ID:
            raise self.wrong("client_id", _("1 to 64 characters"))
        return name

    def settings(self) -> dict[str, Any] | None:
        value = self.data.get("settings")
        if value is not None and not isinstance(value, dict):
            raise self.wrong("settings", _("an object"))
        return value

    def sampling(self) -> dict[str, Any]:
        value = self.data.get("sampling") or {}
        if not isinstance(value, dict):
            raise self.wrong("sampling", _("an object"))
        return value

    def flag(self, name: str) -> bool:
        value = self.data.get(name, False)
        if not isinstance(value, bool):
            raise self.wrong(name, _("true or false"))
        return value

    def uuid(self, name: str) -> UUID:
        try:
            return UUID(self.text(name))
        except ValueError:
            raise self.wrong(name, _("a UUID")) from None

    def ids(self) -> tuple[UUID, UUID]:
        """Of a session, and of a message in it."""
        return self.uuid("session_id"), self.uuid("message_id")

    def optional_uuid(self, name: str) -> UUID | None:
        return None if self.data.get(name) is None else self.uuid(name)

    def uuids(self, name: str) -> tuple[UUID, ...]:
        values = self.data.get(name) or []
        try:
            if len(values) <= MAX_LIST:
                return tuple(UUID(value) for value in values)
        except (ValueError, TypeError, AttributeError):
            pass
        raise self.wrong(name, _("a list of at most %(limit)d UUIDs") % {"limit": MAX_LIST})

    def count(self, name: str) -> int:
        value = self.data.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SEQ:
            raise self.wrong(name, _("a whole number of at least 0"))
        return value
