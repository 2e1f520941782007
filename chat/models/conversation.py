"""What was said: sessions, each a tree of messages."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.encryption.fields import EncryptedCharField, EncryptedJSONField, EncryptedTextField
from chat.models.folders import Folder


class _Sessions(models.QuerySet["Session"]):
    def delete(self) -> tuple[int, dict[str, int]]:
        """Django looks for what goes along before its own transaction begins. A turn that writes in
        between would leave a row without its session, so nobody writes from here on."""
        with transaction.atomic(using=self.db):
            ids = self.order_by().values("pk")
            of_these = self.model._base_manager.using(self.db).filter(pk__in=ids)
            if transaction.get_connection(self.db).features.has_select_for_update:
                list(of_these.select_for_update().values_list("pk"))
            return super().delete()

    # As Django marks its own: no template calls it, and no manager has it.
    delete.alters_data = delete.queryset_only = True  # type: ignore[attr-defined]


class Session(models.Model):
    """One conversation. last_seq: the number of its newest event once no turn is live. is_named:
    its title is a person's, which nothing automatic may change. settings: what the person chose
    for it (`chat.session_settings.values`); None: nothing. deleted_at: since when it is
    hidden from its owner, who can still take that back until the row goes. forked_from: the message
    of another session up to which this one is a copy."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="sessions",
        verbose_name=_("owner"),
    )
    title = EncryptedCharField(_("title"), max_length=200, blank=True)
    model = models.CharField(_("model"), max_length=200)
    is_named = models.BooleanField(_("named by a person"), default=False)
    settings = EncryptedJSONField(_("settings"), null=True, blank=True)
    pinned = models.BooleanField(_("pinned"), default=False)
    archived = models.BooleanField(_("archived"), default=False)
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True)
    folder = models.ForeignKey(
        Folder,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="sessions",
        verbose_name=_("folder"),
    )
    forked_from = models.ForeignKey(
        "Message",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="forks",
        verbose_name=_("fork of"),
    )
    last_seq = models.BigIntegerField(_("last event"), default=0)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    updated_at = models.DateTimeField(_("updated"), default=timezone.now)

    objects = _Sessions.as_manager()

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        ordering: ClassVar[list[str]] = ["-updated_at"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["owner", "-updated_at"], name="session_by_owner"),
            models.Index(
                fields=["owner", "archived", "pinned", "-updated_at", "-id"],
                name="session_in_list",
            ),
            models.Index(
                fields=["owner", "folder", "archived", "pinned", "-updated_at", "-id"],
                name="session_in_folder",
            ),
            models.Index(
                fields=["deleted_at"], condition=Q(deleted_at__isnull=False), name="session_deleted"
            ),
            models.Index(fields=["updated_at"], name="session_by_age"),
        ]

    def __str__(self) -> str:
        return str(self.id)  # a name for lists and logs of the admin, which tell no text

    @property
    def position(self) -> str:
        """Where it stands in a list; `chat.session_pages` goes on behind it."""
        return f"{self.updated_at.isoformat()}~{self.id}"

    @property
    def deleted(self) -> bool:
        return self.deleted_at is not None


def sessions_of(owner_id: uuid.UUID) -> models.QuerySet[Session]:
    """All that the owner has, without those that are about to be deleted."""
    return Session.objects.filter(owner_id=owner_id, deleted_at=None)


class Message(models.Model):
    """One node of a session's tree. client_id: the sender's own name for it, so that sending the
    same message again after a lost connection is recognised. shown_at: when it was last the end of
    the branch that is shown (`chat.branches`). reads_files: a model reads its MessageReading."""

    class Role(models.TextChoices):
        USER = "user", _("user")
        ASSISTANT = "assistant", _("assistant")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(
        Session, on_delete=models.CASCADE, related_name="messages", verbose_name=_("session")
    )
    parent = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="children",
        verbose_name=_("parent"),
    )
    role = models.CharField(_("role"), max_length=16, choices=Role.choices)
    content = EncryptedTextField(_("content"), blank=True)
    client_id = models.CharField(max_length=64, null=True, blank=True, editable=False)  # noqa: DJ001
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    shown_at = models.DateTimeField(default=timezone.now, editable=False)
    reads_files = models.BooleanField(default=False, db_default=False, editable=False)

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        ordering: ClassVar[list[str]] = ["created_at"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["session", "created_at"], name="message_by_session"),
            models.Index(fields=["client_id"], name="message_by_client_id"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["session", "client_id"], name="one_message_per_client_id"
            )
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.id}"


class SearchText(models.Model):
    """What the search finds a message by, written when its turn has ended; not where texts are
    encrypted. The database keeps an index over it, by triggers (SQLite) or of its own (PostgreSQL):
    see migration 0004."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="+")
    message = models.OneToOneField(Message, on_delete=models.CASCADE, related_name="+")
    text = models.TextField()

    def __str__(self) -> str:
        return str(self.message_id)
