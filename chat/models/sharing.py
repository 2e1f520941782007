"""What a person shows to others."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.encryption.fields import EncryptedCharField, EncryptedJSONField
from chat.models.conversation import Session


class ShareLink(models.Model):
    """A branch as it was when the link was made: whoever has the link reads it, and what is said
    later is not in it. Only the token's sha256 is kept. messages: [{role, text}, ...]. kind: the
    model's (`inference.types.ModelKind`). author: the name that the owner chose to show, if any."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="share_links",
        verbose_name=_("owner"),
    )
    session = models.ForeignKey(
        Session, on_delete=models.CASCADE, related_name="share_links", verbose_name=_("session")
    )
    digest = models.CharField(max_length=64, unique=True, editable=False)
    title = EncryptedCharField(_("title"), max_length=200)
    author = models.CharField(_("author"), max_length=100, blank=True)
    kind = models.CharField(max_length=16)
    messages = EncryptedJSONField(_("messages"))
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)

    class Meta:
        verbose_name = _("share link")
        verbose_name_plural = _("share links")
        ordering: ClassVar[list[str]] = ["-created_at"]

    def __str__(self) -> str:
        return str(self.id)
