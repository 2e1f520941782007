"""The record: users, sessions, a tree of messages, generations, and the numbered event log."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class User(AbstractUser):
    """Ours from the first migration, so that it can grow. In local mode one of these owns all."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")


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


class Session(models.Model):
    """One conversation. last_seq: the number of its newest event once no turn is live. is_named:
    its title is a person's, which nothing automatic may change. deleted_at: since when it is
    hidden from its owner, who can still take that back until the row goes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="sessions", verbose_name=_("owner")
    )
    title = models.CharField(_("title"), max_length=200, blank=True)
    model = models.CharField(_("model"), max_length=200)
    is_named = models.BooleanField(_("named by a person"), default=False)
    pinned = models.BooleanField(_("pinned"), default=False)
    archived = models.BooleanField(_("archived"), default=False)
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True)
    last_seq = models.BigIntegerField(_("last event"), default=0)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    updated_at = models.DateTimeField(_("updated"), default=timezone.now)

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
                fields=["deleted_at"], condition=Q(deleted_at__isnull=False), name="session_deleted"
            ),
        ]

    def __str__(self) -> str:
        return self.title or str(self.id)

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
    the branch that is shown (`chat.branches`)."""

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
    content = models.TextField(_("content"), blank=True)
    client_id = models.CharField(max_length=64, null=True, blank=True, editable=False)  # noqa: DJ001
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    shown_at = models.DateTimeField(default=timezone.now, editable=False)

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
        return f"{self.role}: {self.content[:60]}"


class SearchText(models.Model):
    """What the search finds a message by, written when its turn has ended. The database keeps an
    index over it, by triggers (SQLite) or of its own (PostgreSQL): see migration 0004."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="+")
    message = models.OneToOneField(Message, on_delete=models.CASCADE, related_name="+")
    text = models.TextField()

    def __str__(self) -> str:
        return self.text[:60]


class Generation(models.Model):
    """One run of a model that wrote (part of) an assistant's message, with all that repeats it.

    prompt_ids, output_ids, token_offsets: packed little-endian uint32 (`chat.packing`); offsets
    count characters from the beginning of this generation's own text. deterministic: nothing else
    had an influence on the tokens, and engine: what computed them (`inference.types.EngineSetup`),
    both as the engine says with its first token; False and empty before. owner and heartbeat_at
    say which process is at work, so that only a dead process's rows are failed.
    """

    class Status(models.TextChoices):
        RUNNING = "RUNNING", _("running")
        DONE = "DONE", _("done")
        STOPPED = "STOPPED", _("stopped")
        FAILED = "FAILED", _("failed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(
        Session, on_delete=models.CASCADE, related_name="generations", verbose_name=_("session")
    )
    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="generations", verbose_name=_("message")
    )
    status = models.CharField(
        _("status"), max_length=16, choices=Status.choices, default=Status.RUNNING
    )
    model = models.CharField(_("model"), max_length=200)
    fingerprint = models.JSONField(_("fingerprint"), default=dict)
    sampling = models.JSONField(_("sampling"), default=dict)
    seed = models.BigIntegerField(_("seed"), null=True, blank=True)
    deterministic = models.BooleanField(_("deterministic"), default=False)
    engine = models.JSONField(_("engine"), default=dict, blank=True)
    prompt_ids = models.BinaryField(default=bytes)
    output_ids = models.BinaryField(default=bytes)
    token_offsets = models.BinaryField(default=bytes)
    prompt_tokens = models.PositiveIntegerField(_("prompt tokens"), default=0)
    output_tokens = models.PositiveIntegerField(_("output tokens"), default=0)
    cached_tokens = models.PositiveIntegerField(_("cached tokens"), default=0)
    timings = models.JSONField(_("timings"), default=dict)
    finish_reason = models.CharField(_("finish reason"), max_length=16, blank=True)
    error = models.JSONField(_("error"), null=True, blank=True)
    owner = models.CharField(_("process"), max_length=64)
    heartbeat_at = models.DateTimeField(_("heartbeat"), default=timezone.now)
    request_id = models.CharField(_("request id"), max_length=64)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    class Meta:
        verbose_name = _("generation")
        verbose_name_plural = _("generations")
        ordering: ClassVar[list[str]] = ["created_at"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["message", "created_at"], name="generation_by_message"),
            models.Index(fields=["status"], name="generation_by_status"),
            models.Index(fields=["request_id"], name="generation_by_request"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["session"], condition=Q(status="RUNNING"), name="one_live_turn_per_session"
            )
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.status}"

    @property
    def can_continue(self) -> bool:
        return can_continue(status=self.status, finish_reason=self.finish_reason)


def can_continue(*, status: str, finish_reason: str) -> bool:
    """Whether an answer that ended like this may be gone on with."""
    return status in ("FAILED", "STOPPED") or finish_reason == "length"


class Event(models.Model):
    """What happened in a session, numbered: the truth that brings any reader up to date."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="events")
    generation = models.ForeignKey(Generation, on_delete=models.CASCADE, related_name="events")
    seq = models.BigIntegerField()
    kind = models.CharField(max_length=32)
    payload = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar[list[str]] = ["seq"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["session", "seq"], name="one_event_per_number")
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.kind}"
