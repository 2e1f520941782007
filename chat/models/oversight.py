"""How long conversations are kept, and who looked into one that is not theirs."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.validators import MaxValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.models.conversation import Session

MAX_DAYS = 36_500


class BreakGlass(models.Model):
    """Somebody who runs the site may read one conversation until `ends_at`, and said why. It stays
    when the conversation goes, or whoever read it: its owner is to know."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", verbose_name=_("owner")
    )
    session = models.ForeignKey(
        Session, models.SET_NULL, null=True, related_name="+", verbose_name=_("session")
    )
    reader = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("reader"),
    )
    reason = models.CharField(_("reason"), max_length=500)
    opened_at = models.DateTimeField(_("opened"), default=timezone.now)
    ends_at = models.DateTimeField(_("ends"))

    class Meta:
        verbose_name = _("emergency access")
        verbose_name_plural = _("emergency accesses")
        default_permissions = ()
        ordering: ClassVar[list[str]] = ["-opened_at"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["session", "-opened_at"], name="glass_by_session"),
            models.Index(fields=["owner", "-opened_at"], name="glass_by_owner"),
        ]

    def __str__(self) -> str:
        return f"{self.session_id}, {self.opened_at:%Y-%m-%d %H:%M}"


class Retention(models.Model):
    """How many days after their last message conversations of a group's members are kept. Of the
    groups of a person the shortest counts; who is in none of these, the site's setting."""

    group = models.OneToOneField(
        Group, models.CASCADE, related_name="retention", verbose_name=_("group")
    )
    days = models.PositiveIntegerField(
        _("days"),
        validators=[MaxValueValidator(MAX_DAYS)],
        help_text=_(
            "After the last message. 0: for ever. Where a person is in several groups, the "
            "shortest counts. What is older is deleted for good, within a minute."
        ),
    )

    class Meta:
        verbose_name = _("retention")
        verbose_name_plural = _("retention")
        ordering: ClassVar[list[str]] = ["days"]

    def __str__(self) -> str:
        return str(self.group)
