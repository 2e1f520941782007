"""Texts that are written once and used again as messages, or as the beginning of one."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.encryption.fields import EncryptedCharField, EncryptedTextField

MAX_NAME, MAX_TEXT = 80, 20_000
"""Characters."""


class SavedPrompt(models.Model):
    """owner: who alone sees it; without one it is the site's, made in the admin, and offered to
    everybody."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        editable=False,
        related_name="saved_prompts",
        verbose_name=_("owner"),
    )
    name = EncryptedCharField(_("name"), max_length=MAX_NAME)
    text = EncryptedTextField(_("text"), max_length=MAX_TEXT)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("prompt of the site")
        verbose_name_plural = _("prompts of the site")
        ordering: ClassVar[list[str]] = ["created_at"]

    def __str__(self) -> str:
        return str(self.id)


class SavedPromptVersion(models.Model):
    """What a prompt was from `created_at` on."""

    prompt = models.ForeignKey(
        SavedPrompt, on_delete=models.CASCADE, related_name="versions", verbose_name=_("prompt")
    )
    number = models.PositiveIntegerField(_("version"))
    name = EncryptedCharField(_("name"), max_length=MAX_NAME)
    text = EncryptedTextField(_("text"))
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        verbose_name = _("version")
        verbose_name_plural = _("versions")
        default_permissions = ()
        ordering: ClassVar[list[str]] = ["-number"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["prompt", "number"], name="one_text_per_number")
        ]

    def __str__(self) -> str:
        return f"{self.prompt_id}, {self.number}"
