"""The messages of a session in all its branches, a page of them or one: the whole tree is read
without its texts, and the texts of those that are asked for."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from django.utils.translation import gettext as _

from chat.branches import branch, versions
from chat.errors import InvalidRequest, MessageNotFound
from chat.files import selectors as files
from chat.models import Event, Generation, Message
from chat.selectors import MessageView, generations_of, session_get, view_of

_NAMES = [each.name for each in fields(MessageView)]


def message_page(
    *, owner_id: uuid.UUID, session_id: uuid.UUID, after: str, limit: int, shown_only: bool
) -> tuple[list[dict[str, Any]], bool]:
    """Messages, oldest first, each as `MessageView` with `shown` and `generations`, and whether
    there are more behind them. after: the id of the last one of the page before, or "".

    Raises SessionNotFound, InvalidRequest.
    """

    def chosen(nodes: Sequence[Message], shown: set[uuid.UUID]) -> list[uuid.UUID]:
        ids = [each.id for each in nodes if not shown_only or each.id in shown]
        places = {str(each): place for place, each in enumerate(ids)}
        if after and after not in places:
            raise InvalidRequest(
                _("cursor must be the next_cursor of a page of this list, not %(value)s.")
                % {"value": repr(after[:100])},
                param="cursor",
            )
        return ids[places[after] + 1 if after else 0 :][: limit + 1]

    found = _read(owner_id, session_id, chosen)
    return found[:limit], len(found) > limit


def message_get(
    *, owner_id: uuid.UUID, session_id: uuid.UUID, message_id: uuid.UUID
) -> dict[str, Any]:
    """Raises SessionNotFound, MessageNotFound."""
    found = _read(owner_id, session_id, lambda nodes, shown: [message_id])
    if not found:
        raise MessageNotFound(message_id)
    return found[0]


def parent_of(
    *, owner_id: uuid.UUID, session_id: uuid.UUID, message_id: uuid.UUID
) -> uuid.UUID | None:
    """Of a message of the user's. Raises SessionNotFound, MessageNotFound, InvalidRequest."""
    session = session_get(owner_id=owner_id, session_id=session_id)
    message = Message.objects.filter(session=session, id=message_id).defer("content").first()
    if message is None:
        raise MessageNotFound(message_id)
    if message.role != Message.Role.USER:
        raise InvalidRequest(
            _("Only messages of the user's are edited; of an answer, ask for another one."),
            param="message_id",
        )
    return message.parent_id


def answer_begun(*, session_id: uuid.UUID, seq: int) -> uuid.UUID:
    """The answer that a turn.started with this number is of."""
    begun = Event.objects.filter(session_id=session_id, seq=seq, kind="turn.started")
    return begun.values_list("generation__message_id", flat=True).get()


def _read(
    owner_id: uuid.UUID,
    session_id: uuid.UUID,
    chosen: Callable[[Sequence[Message], set[uuid.UUID]], list[uuid.UUID]],
) -> list[dict[str, Any]]:
    session = session_get(owner_id=owner_id, session_id=session_id)
    rows = Message.objects.filter(session=session)
    nodes = list(rows.defer("content").order_by("created_at", "id"))
    shown, beside = {each.id for each in branch(nodes)}, versions(nodes)
    ids = chosen(nodes, shown)
    texts = rows.filter(id__in=ids).select_related("feedback")
    messages = list(texts.order_by("created_at", "id"))
    by_message = generations_of(Generation.objects.filter(message__in=ids))
    views = [
        view_of(each, beside[each.parent_id], by_message.get(each.id, [])) for each in messages
    ]
    return [
        {
            **{name: getattr(view, name) for name in _NAMES},
            "shown": view.id in shown,
            "generations": [each.id for each in by_message.get(view.id, [])],
        }
        for view in files.with_files(messages, views)
    ]
