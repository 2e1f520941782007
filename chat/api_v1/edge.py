"""What the endpoints under /api/v1/ have in common: what they refuse, and names in addresses."""

from __future__ import annotations

from http import HTTPStatus

from chat.errors import MessageNotFound, SessionNotFound
from chat.records import GenerationNotFound
from chat.schemas import ErrorOut
from chat.share_links import ShareLinkNotFound

SESSION = "/sessions/{session_id}"
MESSAGES = SESSION + "/messages"
MESSAGE = MESSAGES + "/{message_id}"

IDS = {
    "session_id": SessionNotFound,
    "message_id": MessageNotFound,
    "generation_id": GenerationNotFound,
    "link_id": ShareLinkNotFound,
}
"""What is said of an id in an address that names nothing."""

READING = dict.fromkeys((400, 401, 403, 500, 503), ErrorOut)
ONE = READING | {HTTPStatus.NOT_FOUND.value: ErrorOut}
WRITING = ONE | dict.fromkeys((409, 413, 415, 507), ErrorOut)
ANSWERING = WRITING | dict.fromkeys((429, 504), ErrorOut)
