"""A person is forgotten: their answers are ended, their rows deleted, what was computed of them is
removed, and the bytes of it are not left behind in the database's files.

What stays is named in docs/privacy.md: backups, and logs that hold ids and no texts.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import structlog
from django.contrib.auth import get_user_model
from django.db import transaction

from chat import audit, forgetting
from chat.database import in_database, write_database
from chat.generation import turns
from chat.models import Message, Session
from chat.privacy.scrubbing import scrub
from chat.signals import announce

_log = structlog.get_logger(__name__)


class PersonNotFound(LookupError):
    """There is no such account."""


@dataclass(frozen=True, slots=True)
class Erased:
    """How much it was. is_scrubbed: False where another connection kept the database's files from
    being cleaned; they are at the next erasure, or by `manage.py scrub`."""

    sessions: int
    messages: int
    is_scrubbed: bool


async def erase_person(*, user_id: uuid.UUID) -> Erased:
    """Raises PersonNotFound; then nothing has happened."""
    sessions = await in_database(_sessions_of, user_id=user_id)
    for session_id in sessions:
        turn = turns().get(session_id)
        if turns().cancel(session_id, "erasure") and turn is not None:
            await turn.wait_end()
    count, messages = await write_database(_delete, user_id=user_id)
    await forgetting.settled()
    for session_id in sessions:
        await announce(session_id)
    done = await write_database(scrub)
    _log.info("person_erased", sessions=count, messages=messages, is_scrubbed=done)
    return Erased(count, messages, done)


def _sessions_of(*, user_id: uuid.UUID) -> list[uuid.UUID]:
    if not get_user_model().objects.filter(pk=user_id).exists():
        raise PersonNotFound(user_id)
    return list(Session.objects.filter(owner_id=user_id).values_list("id", flat=True))


@transaction.atomic
def _delete(*, user_id: uuid.UUID) -> tuple[int, int]:
    """The account, and with it whatever has it as its owner; the audit log keeps what was done, and
    no name. One transaction."""
    messages = Message.objects.filter(session__owner_id=user_id).count()
    user = get_user_model().objects.get(pk=user_id)
    username = user.get_username()
    _, by_model = user.delete()
    audit.forget(user_id=user_id, username=username)
    return by_model.get(Session._meta.label, 0), messages
