"""How it came to be: generations, and the numbered event log."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.encryption.fields import EncryptedBinaryField, EncryptedJSONField
from chat.models.conversation import Message, Session
from chat.models.preset import PresetVersion
from chat.packing import NUMBER_SIZE


class Generation(models.Model):
    """One run of a model that wrote (part of) an assistant's message, with all that repeats it.

    prompt_ids, output_ids, token_offsets: packed little-endian uint32 (`chat.packing`); offsets
    count characters from the beginning of this generation's own text. prefix_offsets: where an
    answer began with tokens that were given to it (`chat.glass`), the offsets of these in the
    message's text; they are the last of the prompt's ids. deterministic: nothing else
    had an influence on the tokens, and engine: what computed them (`inference.types.EngineSetup`),
    both as the engine says with its first token; False and empty before. context: what was put in
    front of the conversation and what was left out (`chat.context.reading`); None: of before it was
    recorded. preset_version: whose settings the session had, if a preset's. reserved_tokens: of its
    owner's allowance (`chat.usage`). owner and heartbeat_at say which process is at work, so that
    only a dead process's rows are failed. request: what the call of a program that asked for it is
    to be told again (`chat.v1.stored`); None: a person's.
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
    sampling = EncryptedJSONField(_("sampling"), default=dict)
    preset_version = models.ForeignKey(
        PresetVersion,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        verbose_name=_("version of a preset"),
    )
    context = EncryptedJSONField(_("context"), null=True, blank=True)
    seed = models.BigIntegerField(_("seed"), null=True, blank=True)
    deterministic = models.BooleanField(_("deterministic"), default=False)
    engine = models.JSONField(_("engine"), default=dict, blank=True)
    prompt_ids = EncryptedBinaryField(default=bytes)
    output_ids = EncryptedBinaryField(default=bytes)
    token_offsets = EncryptedBinaryField(default=bytes)
    prefix_offsets = EncryptedBinaryField(default=bytes)
    prompt_tokens = models.PositiveIntegerField(_("prompt tokens"), default=0)
    output_tokens = models.PositiveIntegerField(_("output tokens"), default=0)
    reserved_tokens = models.PositiveBigIntegerField(default=0, editable=False)
    cached_tokens = models.PositiveIntegerField(_("cached tokens"), default=0)
    timings = models.JSONField(_("timings"), default=dict)
    finish_reason = models.CharField(_("finish reason"), max_length=16, blank=True)
    error = models.JSONField(_("error"), null=True, blank=True)
    owner = models.CharField(_("process"), max_length=64)
    heartbeat_at = models.DateTimeField(_("heartbeat"), default=timezone.now)
    request_id = models.CharField(_("request id"), max_length=64)
    request = EncryptedJSONField(_("request"), null=True, blank=True)
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
    def answer_start(self) -> int:
        """Of an answer's first generation: the index in its prompt at which the answer begins."""
        return (len(self.prompt_ids) - len(self.prefix_offsets)) // NUMBER_SIZE

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
    payload = EncryptedJSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar[list[str]] = ["seq"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["session", "seq"], name="one_event_per_number")
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.kind}"
