"""A new session out of an old one: the branch up to a message, with all that made it.

The generations come along with their token ids, so the next prompt begins id by id as it would
have in the old session, and finds in the cache what was read there.
"""

from __future__ import annotations

import uuid

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.branches import branch
from chat.context.summary_rows import summaries_copy
from chat.errors import MessageNotFound, TurnInProgress
from chat.files.services import files_copy
from chat.models import Generation, Message, Session
from chat.packing import pack, unpack
from chat.prompt_selectors import output_ids
from chat.search_index import index_new
from chat.selectors import session_get

ROWS = 200
"""Rows of a statement."""


@transaction.atomic
def session_fork(*, owner_id: uuid.UUID, session_id: uuid.UUID, message_id: uuid.UUID) -> Session:
    """A session with copies of the messages from the root to this one. Raises SessionNotFound,
    MessageNotFound, and TurnInProgress where this one is still being written."""
    origin = session_get(owner_id=owner_id, session_id=session_id)
    path = branch(list(Message.objects.filter(session=origin)), message_id)
    if not path:
        raise MessageNotFound(message_id)
    generations = list(Generation.objects.filter(message__in=path).order_by("created_at"))
    if any(each.status == Generation.Status.RUNNING for each in generations):
        raise TurnInProgress(session_id)
    title = _("Fork of %(title)s") % {"title": origin.title}
    session = Session.objects.create(
        owner_id=owner_id,
        title=title if len(title) <= 200 else title[:199] + "…",
        is_named=True,
        model=origin.model,
        settings=origin.settings,
        folder_id=origin.folder_id,
        forked_from=path[-1],
    )
    copies = _messages(session, path)
    Message.objects.bulk_create(copies.values(), ROWS)
    files_copy(copies=copies)
    summaries = summaries_copy(copies=copies)
    Generation.objects.bulk_create(
        [_generation(session, copies[each.message_id], each, summaries) for each in generations],
        ROWS,
    )
    index_new(copies.values())
    return session


def _messages(session: Session, path: list[Message]) -> dict[uuid.UUID, Message]:
    """By the id of the original, each below the one before. Its times stay."""
    copies: dict[uuid.UUID, Message] = {}
    above: Message | None = None
    for each in path:
        above = copies[each.id] = Message(
            session=session,
            parent=above,
            role=each.role,
            content=each.content,
            reads_files=each.reads_files,
            created_at=each.created_at,
            shown_at=timezone.now(),
        )
    return copies


def _generation(
    session: Session, message: Message, origin: Generation, summaries: dict[str, str]
) -> Generation:
    """With its tokens in the row, also where the original's are in its log alone. summaries: the
    ids of their copies."""
    names = {field.attname for field in Generation._meta.concrete_fields} - {"id"}
    values = {name: getattr(origin, name) for name in names}
    ids = output_ids(origin)
    if ids != unpack(origin.output_ids):
        values["output_ids"], values["output_tokens"] = pack(ids), len(ids)
    context = origin.context or {}
    if summary := summaries.get(context.get("summary", "")):
        values["context"] = context | {"summary": summary}
    return Generation(**{**values, "session_id": session.id, "message_id": message.id})


def fork_origin(*, session: Session) -> Message | None:
    """The message, with its session, that this one was forked from, if it is still there."""
    if session.forked_from_id is None:
        return None
    rows = Message.objects.select_related("session").defer("content")
    return rows.filter(id=session.forked_from_id, session__deleted_at=None).first()
