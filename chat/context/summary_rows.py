"""Writes of summaries. Each is one transaction; its arguments are keyword-only."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from django.db import transaction

from chat.errors import TurnLost
from chat.models import Generation, Message, Summary
from chat.packing import pack
from chat.turn_records import StartedTurn


@transaction.atomic
def summary_keep(
    *, turn: StartedTurn, process: str, summary: Summary, prompt_ids: Sequence[int]
) -> None:
    """With the generation that is the first to read it, in a prompt of these tokens. Raises
    TurnLost."""
    its = {"prompt_ids": pack(prompt_ids), "prompt_tokens": len(prompt_ids)}
    _change(turn, process, {"summary": str(summary.id)}, **its)
    summary.save(force_insert=True)


@transaction.atomic
def summary_missed(*, turn: StartedTurn, process: str) -> None:
    """None could be made; the prompt is as it was planned. Raises TurnLost."""
    _change(turn, process, {"summary_missing": "failed"})


def summaries_copy(*, copies: dict[uuid.UUID, Message]) -> dict[str, str]:
    """For a copy of a branch: originals' ids with the messages in their place. Returns the new ids
    of the summaries by the old ones."""
    names: dict[str, str] = {}
    for row in Summary.objects.filter(message__in=copies):
        old, message = str(row.id), copies[row.message_id]
        row.id, row.message, row.session = uuid.uuid4(), message, message.session
        row.save(force_insert=True)
        names[old] = str(row.id)
    return names


def _change(turn: StartedTurn, process: str, told: dict[str, Any], **fields: Any) -> None:
    mine = {"status": Generation.Status.RUNNING, "owner": process}
    rows = Generation.objects.filter(id=turn.generation_id, **mine)
    context = rows.values_list("context", flat=True).first() or {}
    context.pop("summary_missing", None)
    if rows.update(context=context | told, **fields) != 1:
        raise TurnLost
