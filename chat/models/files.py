"""Files attached to messages: their text, and what of it a model was shown."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.encryption.fields import (
    EncryptedBinaryField,
    EncryptedCharField,
    EncryptedJSONField,
    EncryptedTextField,
)
from chat.models.conversation import Message


class File(models.Model):
    """What was read in an uploaded file; the file itself is not kept. size and sha256 are of its
    bytes, text_size of the text's. places: where in the file its text is from
    (`chat.reading.result.Place`). tokens: as the model `model` counted when it was uploaded.
    waiting_since: when it was last uploaded and not sent since; null once a message has it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="files",
        verbose_name=_("owner"),
    )
    name = EncryptedCharField(_("name"), max_length=255)
    kind = models.CharField(_("kind"), max_length=16)
    encoding = models.CharField(_("encoding"), max_length=40, blank=True)
    size = models.PositiveBigIntegerField(_("bytes"))
    sha256 = models.CharField(max_length=64)
    characters = models.PositiveIntegerField(_("characters"))
    tokens = models.PositiveIntegerField(_("tokens"))
    model = models.CharField(_("model"), max_length=200)
    text = EncryptedTextField()
    text_size = models.PositiveBigIntegerField()
    places = EncryptedJSONField(default=list)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    waiting_since = models.DateTimeField(null=True, default=timezone.now, db_index=True)

    class Meta:
        verbose_name = _("file")
        verbose_name_plural = _("files")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            # The same bytes are read in another way under another kind of name.
            models.UniqueConstraint(fields=["owner", "sha256", "kind"], name="one_row_per_file")
        ]

    def __str__(self) -> str:
        return str(self.id)


class FileVectors(models.Model):
    """What a file's passages mean to a sentence model, for whoever looks for something in it.

    model: sha256 of its weights. passages: how many `chat.files.passages.cut` made. data: their
    vectors one after the other, of length 1, in fp16, the least significant byte first."""

    file = models.OneToOneField(File, on_delete=models.CASCADE, related_name="vectors")
    model = models.CharField(max_length=64)
    passages = models.PositiveIntegerField()
    data = EncryptedBinaryField()

    def __str__(self) -> str:
        return str(self.file_id)


class MessageFile(models.Model):
    """A file of a message, in its place among them. A file that a message has is not deleted."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="attached")
    file = models.ForeignKey(File, on_delete=models.RESTRICT, related_name="attached")
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering: ClassVar[list[str]] = ["position"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["message", "file"], name="a_file_once_per_message")
        ]

    def __str__(self) -> str:
        return f"{self.message_id}: {self.file_id}"


class MessageReading(models.Model):
    """What a model reads in place of a message's text where that has files, or looks into those of
    earlier messages. Chosen once, when the message is sent: the turns after it begin with it.

    tokens: of what was added. passages: see `chat.files.prompt.Passage.stored`."""

    message = models.OneToOneField(Message, on_delete=models.CASCADE, related_name="reading")
    prompt_text = EncryptedTextField()
    tokens = models.PositiveIntegerField()
    passages = EncryptedJSONField(default=list)

    def __str__(self) -> str:
        return str(self.message_id)
