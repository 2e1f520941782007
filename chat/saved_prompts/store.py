"""What is done with prompts that are kept. Each write is one transaction."""

from __future__ import annotations

import uuid

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from chat.errors import ChatError
from chat.models import SavedPrompt, SavedPromptVersion
from chat.own_names import by_name

MOST = 200
"""Of one person."""
KEPT = 50
"""Versions of one; then the oldest goes."""


class PromptNotFound(ChatError):
    """Also said of another person's, and of one of the site's where it is to be changed."""

    code = "prompt_not_found"
    status = 404

    def __init__(self, prompt_id: uuid.UUID) -> None:
        super().__init__(_("This prompt is no longer there."), prompt_id=str(prompt_id))


def offered(*, owner_id: uuid.UUID) -> list[SavedPrompt]:
    """What this person may use, by name: their own and the site's."""
    return by_name(SavedPrompt.objects.filter(Q(owner_id=owner_id) | Q(owner=None)))


def own_prompts(*, owner_id: uuid.UUID) -> list[SavedPrompt]:
    """By name."""
    return by_name(SavedPrompt.objects.filter(owner_id=owner_id))


def has_room(*, owner_id: uuid.UUID) -> bool:
    return SavedPrompt.objects.filter(owner_id=owner_id).count() < MOST


def own_prompt(*, owner_id: uuid.UUID, prompt_id: uuid.UUID) -> SavedPrompt:
    """Raises PromptNotFound."""
    found = SavedPrompt.objects.filter(owner_id=owner_id, id=prompt_id).first()
    if found is None:
        raise PromptNotFound(prompt_id)
    return found


@transaction.atomic
def prompt_keep(prompt: SavedPrompt) -> None:
    """Save it, and what it is as a version, unless the newest is the same."""
    prompt.save()  # which holds the row
    its = SavedPromptVersion.objects.filter(prompt=prompt)
    newest = its.first()
    if newest and (newest.name, newest.text) == (prompt.name, prompt.text):
        return
    number = newest.number + 1 if newest else 1
    SavedPromptVersion.objects.create(
        prompt=prompt, number=number, name=prompt.name, text=prompt.text
    )
    its.filter(number__lte=number - KEPT).delete()


def version_restore(prompt: SavedPrompt, *, number: int) -> bool:
    """Give the prompt the name and text of a version, which makes a new one. Whether there is such
    a version."""
    version = SavedPromptVersion.objects.filter(prompt=prompt, number=number).first()
    if version is None:
        return False
    prompt.name, prompt.text = version.name, version.text
    prompt_keep(prompt)
    return True
