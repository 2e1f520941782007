"""Who may run the site, and what those who did have done."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class OperatorRights(models.Model):
    """No table: the rights of those who run the site. None but `break_glass` lets them read what
    is said on it."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions: ClassVar[list[tuple[str, Any]]] = [
            ("view_engine", "Can look at the engine, its requests and models"),
            ("operate_engine", "Can cancel requests, and fetch, load, unload and remove models"),
            ("break_glass", "Can read one conversation for a while, after saying why"),
        ]

    def __str__(self) -> str:
        return "operator rights"


class _AppendOnly(models.QuerySet["AuditEntry"]):
    def update(self, **kwargs: Any) -> NoReturn:
        raise TypeError("The audit log is only ever added to.")

    def delete(self) -> NoReturn:
        raise TypeError("The audit log is only ever added to.")

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("The audit log is only ever added to.")


class AuditEntry(models.Model):
    """Somebody changed something: who, what, of what, when, and from what to what. It names people
    and things as they were called then, and refers to no row: those may go, this stays. No text of
    a conversation and no secret is ever in it."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(_("when"), default=timezone.now, editable=False)
    actor_id = models.UUIDField(null=True, editable=False)
    actor = models.CharField(_("who"), max_length=150, editable=False)
    action = models.CharField(_("what"), max_length=64, editable=False)
    target_type = models.CharField(_("kind"), max_length=64, blank=True, editable=False)
    target_id = models.CharField(max_length=200, blank=True, editable=False)
    target = models.CharField(_("of what"), max_length=200, blank=True, editable=False)
    before = models.JSONField(_("before"), null=True, editable=False)
    after = models.JSONField(_("after"), null=True, editable=False)

    objects = _AppendOnly.as_manager()

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit log")
        default_permissions = ("view",)
        ordering: ClassVar[list[str]] = ["-id"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["at"], name="audit_by_time"),
            models.Index(fields=["action", "-id"], name="audit_by_action"),
        ]

    def __str__(self) -> str:
        return f"{self.actor}: {self.action} {self.target}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("The audit log is only ever added to.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("The audit log is only ever added to.")
