"""What a model reads in place of the oldest messages of a conversation."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.encryption.fields import EncryptedTextField
from chat.models.conversation import Message, Session


class Summary(models.Model):
    """Of the branch from its root to `message`, made by `model`: it holds on every branch through
    that message. messages: how many it stands for. sampling, fingerprint and the counts of tokens:
    of the request that made it. Shown to the owner of the session alone."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(
        Session, on_delete=models.CASCADE, related_name="summaries", verbose_name=_("session")
    )
    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="summaries", verbose_name=_("message")
    )
    text = EncryptedTextField()
    messages = models.PositiveIntegerField()
    model = models.CharField(_("model"), max_length=200)
    fingerprint = models.JSONField(default=dict)
    sampling = models.JSONField(default=dict)
    prompt_tokens = models.PositiveIntegerField()
    output_tokens = models.PositiveIntegerField()
    cached_tokens = models.PositiveIntegerField()
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        verbose_name = _("summary")
        verbose_name_plural = _("summaries")
        ordering: ClassVar[list[str]] = ["messages", "created_at"]

    def __str__(self) -> str:
        return str(self.id)  # the admin names it where its session is deleted, and tells no text
