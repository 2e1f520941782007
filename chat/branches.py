"""The branches of a session: a message is a node of a tree, and one way from the root is shown.

Each message knows when it was last the end of what is shown; a new one is when it is made. So the
branch that is shown ends in the leaf with the newest such time, and what was last read below any
message is found in the same way. No other state says which branch it is.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection

from django.utils import timezone

from chat.errors import MessageNotFound, SessionNotFound
from chat.models import Message, sessions_of


def branch(messages: Collection[Message], end: uuid.UUID | None = None) -> list[Message]:
    """From the root to `end`, or to the end of what is shown; empty where that is not there."""
    by_id = {message.id: message for message in messages}
    at = by_id.get(end) if end else _newest(messages)
    path: list[Message] = []
    while at is not None:
        path.append(at)
        at = by_id.get(at.parent_id) if at.parent_id else None
    return path[::-1]


def versions(messages: Collection[Message]) -> dict[uuid.UUID | None, list[uuid.UUID]]:
    """Of each parent (None: the root) its children, oldest first."""
    found: dict[uuid.UUID | None, list[uuid.UUID]] = defaultdict(list)
    for message in sorted(messages, key=lambda message: message.created_at):
        found[message.parent_id].append(message.id)
    return found


def branch_show(*, owner_id: uuid.UUID, session_id: uuid.UUID, message_id: uuid.UUID) -> uuid.UUID:
    """Show `message_id` and what was last read below it. Returns the message at its end.

    Raises SessionNotFound, MessageNotFound.
    """
    if not sessions_of(owner_id).filter(id=session_id).exists():
        raise SessionNotFound(session_id)
    messages = list(Message.objects.filter(session_id=session_id).defer("content"))
    end = _newest(_below(messages, message_id))
    if end is None:
        raise MessageNotFound(message_id)
    Message.objects.filter(id=end.id).update(shown_at=timezone.now())
    return end.id


def _newest(messages: Collection[Message]) -> Message | None:
    parents = {message.parent_id for message in messages}
    leaves = [message for message in messages if message.id not in parents]
    return max(leaves, key=lambda message: message.shown_at, default=None)


def _below(messages: Collection[Message], top: uuid.UUID) -> list[Message]:
    """`top` and all that follows it."""
    by_id, children = {message.id: message for message in messages}, versions(messages)
    waiting, found = [top] if top in by_id else [], []
    while waiting:
        at = waiting.pop()
        found.append(by_id[at])
        waiting += children[at]
    return found
