"""What people use, day by day, and what they may."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Quota(models.Model):
    """What one person, or each member of a group, may use. A number that is absent says nothing, 0
    is no limit. A person's own goes before those of groups, of which the most generous counts;
    before both comes nothing, after both the site's setting."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="quota",
        verbose_name=_("user"),
    )
    group = models.OneToOneField(
        Group,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="quota",
        verbose_name=_("each member of the group"),
    )
    tokens_per_day = models.PositiveBigIntegerField(
        _("tokens per day"),
        null=True,
        blank=True,
        help_text=_("Of prompts and answers together. 0: no limit. Empty: as elsewhere."),
    )
    concurrent_turns = models.PositiveIntegerField(
        _("answers at once"),
        null=True,
        blank=True,
        help_text=_("0: no limit. Empty: as elsewhere."),
    )

    class Meta:
        verbose_name = _("quota")
        verbose_name_plural = _("quotas")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(user__isnull=False, group__isnull=True)
                | Q(user__isnull=True, group__isnull=False),
                name="quota_of_a_user_or_a_group",
            )
        ]

    def __str__(self) -> str:
        return str(self.user or self.group)

    def clean(self) -> None:
        if (self.user_id is None) == (self.group_id is None):
            raise ValidationError(_("Choose a user or a group, one of the two."))


class Usage(models.Model):
    """One person's day, by UTC. reserved_tokens: of turns that are running and have a limit; what
    they did not use is given back when they end."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="usage",
        verbose_name=_("user"),
    )
    day = models.DateField(_("day"))
    turns = models.PositiveIntegerField(_("answers"), default=0)
    prompt_tokens = models.PositiveBigIntegerField(_("prompt tokens"), default=0)
    output_tokens = models.PositiveBigIntegerField(_("output tokens"), default=0)
    reserved_tokens = models.BigIntegerField(_("reserved tokens"), default=0)

    class Meta:
        verbose_name = _("use of a day")
        verbose_name_plural = _("use per day")
        default_permissions = ("view",)
        ordering: ClassVar[list[str]] = ["-day", "user"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["user", "day"], name="one_row_per_user_and_day")
        ]

    def __str__(self) -> str:
        return f"{self.day}: {self.prompt_tokens + self.output_tokens}"
