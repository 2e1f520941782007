"""The record of a generation, for the person whose it is."""

from __future__ import annotations

import uuid

from django.utils.translation import gettext as _

from chat.errors import ChatError
from chat.models import Generation

_PACKED = ("prompt_ids", "output_ids", "token_offsets", "prefix_offsets")


class GenerationNotFound(ChatError):
    """Also said of another person's."""

    code = "generation_not_found"
    status = 404

    def __init__(self, generation_id: object) -> None:
        super().__init__(
            _("There is no generation %(id)s.") % {"id": generation_id},
            param="generation_id",
            generation_id=str(generation_id),
        )


def generation_get(*, owner_id: uuid.UUID, generation_id: uuid.UUID) -> Generation:
    """Without its tokens. Raises GenerationNotFound."""
    mine = Generation.objects.filter(session__owner_id=owner_id, session__deleted_at=None)
    found = mine.defer(*_PACKED).filter(id=generation_id).first()
    if found is None:
        raise GenerationNotFound(generation_id)
    return found


def answer_running(*, session_id: uuid.UUID) -> uuid.UUID | None:
    """The answer that is being written in a session, in whichever branch."""
    running = Generation.objects.filter(session_id=session_id, status=Generation.Status.RUNNING)
    return running.values_list("message_id", flat=True).first()
