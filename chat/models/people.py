"""Who uses the site."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

LOCAL_USERNAME = "local"
"""Of the one user of local mode, which owns everything there."""


class User(AbstractUser):
    """Ours from the first migration, so that it can grow. In local mode one of these owns all."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)

    class Meta:
        swappable = "AUTH_USER_MODEL"
        verbose_name = _("user")
        verbose_name_plural = _("users")

    def clean(self) -> None:
        """Nobody signs in by the name of local mode's user, in whatever letters."""
        super().clean()
        if self.username.lower() == LOCAL_USERNAME and self.has_usable_password():
            raise ValidationError(
                {"username": _("This name is taken by the site itself. Choose another one.")}
            )


class SetupToken(models.Model):
    """A one-time link that makes the first administrator. Only the token's sha256 is kept."""

    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("setup link")
        verbose_name_plural = _("setup links")

    def __str__(self) -> str:
        return f"{self.digest[:8]}…"
