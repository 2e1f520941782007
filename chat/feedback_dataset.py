"""Ratings as examples to learn from. What is asked is what the model read: the branch up to the
answer, with the system prompt of its time and with what was read of files.

ratings: {"prompt": messages, "answer", "rating"}, which `manage.py train lora` takes.
sft: {"messages"}, one for each good answer, as most trainers take them.
dpo: {"prompt": messages, "chosen", "rejected"}: a good and a bad answer to the same message.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, Literal

from chat.branches import branch
from chat.files.selectors import readings
from chat.models import Feedback, Message

Format = Literal["ratings", "sft", "dpo"]
FORMATS: tuple[Format, ...] = ("ratings", "sft", "dpo")


def examples(form: Format) -> Iterator[dict[str, Any]]:
    """Session by session, in the order of the ratings within one."""
    rated = Feedback.objects.filter(message__session__deleted_at=None)
    for session_id in rated.values_list("message__session", flat=True).distinct().order_by():
        yield from _of_session(session_id, form)


def _of_session(session_id: uuid.UUID, form: Format) -> Iterator[dict[str, Any]]:
    messages = list(
        Message.objects.filter(session=session_id)
        .select_related("feedback")
        .prefetch_related("generations")
    )
    rated = [each for each in messages if hasattr(each, "feedback") and each.content]
    rated.sort(key=lambda answer: answer.feedback.created_at)
    for answer in rated:
        is_good, prompt = answer.feedback.value > 0, _prompt(messages, answer)
        if form == "ratings":
            yield {"prompt": prompt, "answer": answer.content, "rating": answer.feedback.value}
        elif form == "sft" and is_good:
            yield {"messages": [*prompt, {"role": "assistant", "content": answer.content}]}
        elif form == "dpo" and is_good:
            for other in rated:
                if other.parent_id == answer.parent_id and other.feedback.value < 0:
                    pair = {"chosen": answer.content, "rejected": other.content}
                    yield {"prompt": prompt, **pair}


def _prompt(messages: list[Message], answer: Message) -> list[dict[str, str]]:
    path = branch(messages, answer.parent_id) if answer.parent_id else []
    read = {message_id: reading.prompt_text for message_id, reading in readings(path).items()}
    said = [{"role": each.role, "content": read.get(each.id, each.content)} for each in path]
    system = _system_prompt(answer)
    return [{"role": "system", "content": system}, *said] if system else said


def _system_prompt(answer: Message) -> str:
    generations = sorted(answer.generations.all(), key=lambda row: row.created_at)
    context = generations[0].context if generations else None
    return str((context or {}).get("system_prompt", ""))
