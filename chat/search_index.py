"""Writes what the search reads. Not while an answer is being written: its text changes many times a
second, and an index of it each time would cost more than the answer."""

from __future__ import annotations

import uuid

from django.db.models import Q

from chat.files.selectors import file_names
from chat.models import Message, SearchText


def index_turn(*, message_id: uuid.UUID) -> None:
    """An answer and the message that it answers with the names of its files, as they are now, in
    two statements; three where there are files."""
    either = Q(id=message_id) | Q(children=message_id)
    found = Message.objects.filter(either).order_by("created_at").distinct()
    messages = list(found.exclude(content="", reads_files=False))
    names = file_names(messages)
    texts = [
        SearchText(
            session_id=each.session_id,
            message=each,
            text="\n".join(filter(None, [each.content, *names.get(each.id, [])])),
        )
        for each in messages
    ]
    SearchText.objects.bulk_create(
        texts, update_conflicts=True, unique_fields=["message"], update_fields=["text"]
    )
