"""Turns that a process left RUNNING when it died: failed, with their text kept.

The text is what the log has; a reader who saw more is recognised by its number, because the
numbers go on at a multiple of `services.CRASH_STEP`.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import structlog
from django.db import transaction
from django.utils import timezone

from chat import process_mark
from chat.error_words import SERVER_STOPPED
from chat.models import Generation, Session
from chat.outcome import Outcome
from chat.prompt_selectors import logged_tokens
from chat.services import after_crash, turn_finish
from chat.turn_records import StartedTurn
from chat.usage import Charge

SILENCE = timedelta(seconds=30)
"""A heartbeat this old is a dead process's, where its mark cannot be asked."""

_log = structlog.get_logger(__name__)


def recover(*, process: str, live: Collection[uuid.UUID] = ()) -> list[uuid.UUID]:
    """Fail the RUNNING rows whose owner is gone; returns their sessions.

    process, live: this process's own id, and the generations that it is working on.
    """
    rows = Generation.objects.filter(status=Generation.Status.RUNNING).exclude(id__in=live)
    return [_fail(row) for row in rows if _is_abandoned(row, process)]


def _is_abandoned(row: Generation, process: str) -> bool:
    alive = None if row.owner == process else process_mark.is_alive(row.owner)
    if alive is None:
        return timezone.now() - row.heartbeat_at > SILENCE
    return not alive


@transaction.atomic
def _fail(row: Generation) -> uuid.UUID:
    ids, offsets = logged_tokens(row)
    last = row.events.order_by("-seq").values_list("seq", flat=True).first() or 0
    known, owner = Session.objects.values_list("last_seq", "owner_id").get(id=row.session_id)
    charge = Charge(owner, row.created_at, row.reserved_tokens)
    turn = StartedTurn(row.session_id, row.message_id, row.id, last, "", charge=charge)
    outcome = Outcome(
        status=Generation.Status.FAILED,
        content=row.message.content,
        output_ids=ids,
        token_offsets=offsets,
        prompt_tokens=row.prompt_tokens,
        output_tokens=len(ids),
        seed=row.seed,
        deterministic=row.deterministic,
        error=_server_stopped(),
    )
    seq = after_crash(max(last, known))
    turn_finish(turn=turn, process=row.owner, seq=seq, outcome=outcome)
    _log.warning("turn_recovered", session=str(row.session_id), tokens=len(ids))
    return row.session_id


def _server_stopped() -> dict[str, Any]:
    return {
        "code": "server_stopped",
        "message": SERVER_STOPPED,
        "fields": {},
        "retryable": True,
    }
