"""Who runs the site reads a conversation of somebody else: after saying why, for a while, one
conversation, and nothing but reading. The audit log keeps it, and the owner sees it."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from functools import partial

from asgiref.sync import async_to_sync
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from chat import audit
from chat.errors import InvalidRequest, SessionNotFound, check_unicode
from chat.models import BreakGlass, Message, Session, User
from chat.signals import announce_inspection

GOOD_FOR = timedelta(minutes=30)
LEAST_WORDS = 3
MOST = 500
"""Characters of a reason."""
# Chinese and Japanese are written without spaces: there each character counts.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")


def session_of_somebody(*, session_id: uuid.UUID) -> Session:
    """Raises SessionNotFound, also for one that is about to be deleted."""
    found = Session.objects.select_related("owner").filter(id=session_id, deleted_at=None).first()
    if found is None:
        raise SessionNotFound(session_id)
    return found


@transaction.atomic
def break_glass(*, reader: User, session_id: uuid.UUID, reason: str) -> BreakGlass:
    """Open a conversation to `reader` from now on, and tell its owner's pages; one that is open to
    him stays as it is. Raises SessionNotFound, InvalidRequest."""
    session = session_of_somebody(session_id=session_id)
    why = checked_reason(reason)
    opened = open_now(reader=reader, session=session)
    if opened is not None:
        return opened
    now = timezone.now()
    opened = BreakGlass.objects.create(
        owner=session.owner,
        session=session,
        reader=reader,
        reason=why,
        opened_at=now,
        ends_at=now + GOOD_FOR,
    )
    audit.record(
        "session.break_glass",
        target_type="session",
        target_id=session.id,
        by=reader,
        after={
            "owner": session.owner.get_username(),
            "reason": why,
            "until": opened.ends_at.isoformat(timespec="seconds"),
        },
    )
    told = partial(async_to_sync(announce_inspection), session.owner_id, session.id)
    transaction.on_commit(told)
    return opened


def open_now(*, reader: User, session: Session) -> BreakGlass | None:
    still = BreakGlass.objects.filter(session=session, reader=reader, ends_at__gt=timezone.now())
    return still.first()


def messages_of(*, session: Session) -> QuerySet[Message]:
    """All branches, in the order in which they were said."""
    rows = Message.objects.filter(session=session).prefetch_related("attached__file")
    return rows.order_by("created_at", "id")


def opened_sessions(*, owner_id: uuid.UUID) -> QuerySet[BreakGlass]:
    """Who read what is this person's, the newest first."""
    return BreakGlass.objects.filter(owner_id=owner_id).select_related("reader", "session")


def opened_last(*, session: Session) -> BreakGlass | None:
    """The last time that somebody else opened this session."""
    return BreakGlass.objects.filter(session=session).select_related("reader").first()


def checked_reason(reason: str) -> str:
    """On one line. Raises InvalidRequest."""
    line = " ".join(reason.replace("\x00", "").split())
    check_unicode("reason", line)
    words = len(_WORD.findall(line))
    if words < LEAST_WORDS or len(line) > MOST:
        raise InvalidRequest(
            _(
                "A reason has at least %(least)d words and at most %(most)d characters, not "
                "%(words)d words and %(length)d characters. Its reader is the owner."
            )
            % {"least": LEAST_WORDS, "most": MOST, "words": words, "length": len(line)},
            param="reason",
        )
    return line
