"""Writes what the search reads. Not while an answer is being written: its text changes many times a
second, and an index of it each time would cost more than the answer."""

from __future__ import annotations

import uuid

from django.db.models import Q

from chat.models import Message, SearchText


def index_turn(*, message_id: uuid.UUID) -> None:
    """An answer and the message that it answers, as they are now, in two statements."""
    either = Q(id=message_id) | Q(children=message_id)
    messages = Message.objects.filter(either).exclude(content="").order_by("created_at").distinct()
    texts = [
        SearchText(session_id=each.session_id, message=each, text=each.content) for each in messages
    ]
    SearchText.objects.bulk_create(
        texts, update_conflicts=True, unique_fields=["message"], update_fields=["text"]
    )
