"""Writes what the search reads. Not while an answer is being written: its text changes many times a
second, and an index of it each time would cost more than the answer. And not where texts are
encrypted: an index of their words would tell them (`chat.encryption.search`)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from django.db.models import Q

from chat.encryption import keys
from chat.files.selectors import file_names
from chat.models import Message, SearchText

ROWS = 200
"""Rows of a statement."""


def index_turn(*, message_id: uuid.UUID) -> None:
    """An answer and the message that it answers with the names of its files, as they are now, in
    two statements; three where there are files."""
    if keys.is_on():
        return
    either = Q(id=message_id) | Q(children=message_id)
    found = Message.objects.filter(either).order_by("created_at").distinct()
    texts = searched(list(found.exclude(content="", reads_files=False)))
    SearchText.objects.bulk_create(
        texts, update_conflicts=True, unique_fields=["message"], update_fields=["text"]
    )


def index_new(messages: Iterable[Message]) -> None:
    """Messages that were just written, with nothing but their text."""
    if keys.is_on():
        return
    said = [each for each in messages if each.content]
    SearchText.objects.bulk_create(
        [SearchText(session_id=each.session_id, message=each, text=each.content) for each in said],
        ROWS,
    )


def searched(messages: list[Message]) -> list[SearchText]:
    """What each is found by: its text, and the names of its files."""
    names = file_names(messages)
    return [
        SearchText(
            session_id=each.session_id,
            message=each,
            text="\n".join(filter(None, [each.content, *names.get(each.id, [])])),
        )
        for each in messages
    ]
