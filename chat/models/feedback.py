"""What a person thinks of an answer."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.encryption.fields import EncryptedTextField
from chat.models.conversation import Message


class Feedback(models.Model):
    """A thumb up or down for an answer, with a reason where the person gave one."""

    class Value(models.IntegerChoices):
        DOWN = -1, _("bad")
        UP = 1, _("good")

    message = models.OneToOneField(
        Message, on_delete=models.CASCADE, related_name="feedback", verbose_name=_("message")
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="feedback",
        verbose_name=_("owner"),
    )
    value = models.SmallIntegerField(_("rating"), choices=Value.choices)
    comment = EncryptedTextField(_("reason"), blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    updated_at = models.DateTimeField(_("updated"), default=timezone.now)

    class Meta:
        verbose_name = _("rating")
        verbose_name_plural = _("ratings")
        ordering: ClassVar[list[str]] = ["-updated_at"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(value__in=[-1, 1]), name="feedback_is_up_or_down")
        ]

    def __str__(self) -> str:
        return f"{self.get_value_display()} {self.message_id}"


def rating_of(message: Message) -> tuple[int, str]:
    """(-1, 0 or 1, the reason) of a message that was read together with its `feedback`."""
    given: Feedback | None = getattr(message, "feedback", None)
    return (given.value, given.comment) if given else (0, "")
