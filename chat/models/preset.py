"""Settings that a person keeps under a name."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.encryption.fields import EncryptedCharField, EncryptedJSONField


class Preset(models.Model):
    """settings: as `chat.session_settings.values` checks them. is_default: new sessions of its
    owner begin with it; of each owner one at most. Of its owner's no other has its name
    (`chat.own_names`)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="presets",
        verbose_name=_("owner"),
    )
    name = EncryptedCharField(_("name"), max_length=80)
    settings = EncryptedJSONField(_("settings"), default=dict, blank=True)
    is_default = models.BooleanField(_("for new sessions"), default=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        verbose_name = _("preset")
        verbose_name_plural = _("presets")
        ordering: ClassVar[list[str]] = ["created_at"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["owner"], condition=Q(is_default=True), name="one_default_preset"
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class PresetVersion(models.Model):
    """A preset's settings as they were from `created_at` on, under the name that it had then.
    digest: by which a turn finds the version whose settings it runs with
    (`chat.session_settings.versions`)."""

    preset = models.ForeignKey(
        Preset, on_delete=models.CASCADE, related_name="versions", verbose_name=_("preset")
    )
    number = models.PositiveIntegerField(_("version"))
    name = EncryptedCharField(_("name"), max_length=80)
    settings = EncryptedJSONField(_("settings"), default=dict, blank=True)
    digest = models.CharField(max_length=64, db_index=True, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    class Meta:
        verbose_name = _("version")
        verbose_name_plural = _("versions")
        default_permissions = ()
        ordering: ClassVar[list[str]] = ["-number"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["preset", "number"], name="one_version_per_number")
        ]

    def __str__(self) -> str:
        return f"{self.preset_id}, {self.number}"
