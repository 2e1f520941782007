"""Rating an answer: a thumb up or down and, if the person likes, why. One per answer; it can be
changed and taken back. Training reads these rows."""

from __future__ import annotations

import uuid

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.errors import InvalidRequest, MessageNotFound, check_unicode
from chat.models import Feedback, Message
from chat.selectors import session_get

MAX_COMMENT = 4000


@transaction.atomic
def feedback_give(
    *, owner_id: uuid.UUID, session_id: uuid.UUID, message_id: uuid.UUID, value: int, comment: str
) -> Feedback:
    """Raises SessionNotFound, MessageNotFound, InvalidRequest."""
    _check(value, comment)
    message = _answer(owner_id, session_id, message_id)
    given = {"owner_id": owner_id, "value": value, "comment": comment.strip()}
    row, _made = Feedback.objects.update_or_create(
        message=message, defaults={**given, "updated_at": timezone.now()}
    )
    return row


@transaction.atomic
def feedback_take_back(
    *, owner_id: uuid.UUID, session_id: uuid.UUID, message_id: uuid.UUID
) -> None:
    """Nothing happens where there is none. Raises as `feedback_give` does."""
    Feedback.objects.filter(message=_answer(owner_id, session_id, message_id)).delete()


def _answer(owner_id: uuid.UUID, session_id: uuid.UUID, message_id: uuid.UUID) -> Message:
    session = session_get(owner_id=owner_id, session_id=session_id)
    message = Message.objects.filter(id=message_id, session=session).first()
    if message is None:
        raise MessageNotFound(message_id)
    if message.role != Message.Role.ASSISTANT:
        raise InvalidRequest(_("Only answers are rated."), param="message_id")
    return message


def _check(value: int, comment: str) -> None:
    if value not in Feedback.Value.values:
        raise InvalidRequest(
            _("value must be 1 or -1, not %(value)d.") % {"value": value}, param="value"
        )
    check_unicode("comment", comment)
    if len(comment) > MAX_COMMENT:
        raise InvalidRequest(
            _("A reason has at most %(most)d characters, not %(length)d.")
            % {"most": MAX_COMMENT, "length": len(comment)},
            param="comment",
        )
