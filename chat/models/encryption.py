"""Which keys values may be encrypted with."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class EncryptionKey(models.Model):
    """One that a server has written with, by its id (`chat.encryption.keys.Key.name`), so that a
    server without it does not start. The key itself is in the environment alone."""

    id = models.CharField(max_length=8, primary_key=True)
    since = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.id
