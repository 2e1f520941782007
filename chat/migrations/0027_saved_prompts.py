"""Prompts that are kept under a name, and their versions."""

import uuid

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import chat.encryption.fields


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0026_encrypted_names"),
    ]

    operations = [
        migrations.CreateModel(
            name="SavedPrompt",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "name",
                    chat.encryption.fields.EncryptedCharField(max_length=80, verbose_name="name"),
                ),
                (
                    "text",
                    chat.encryption.fields.EncryptedTextField(
                        max_length=20000, verbose_name="text"
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, editable=False, verbose_name="created"
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="saved_prompts",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="owner",
                    ),
                ),
            ],
            options={
                "verbose_name": "prompt of the site",
                "verbose_name_plural": "prompts of the site",
                "ordering": ["created_at"],
            },
        ),
        migrations.CreateModel(
            name="SavedPromptVersion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveIntegerField(verbose_name="version")),
                (
                    "name",
                    chat.encryption.fields.EncryptedCharField(max_length=80, verbose_name="name"),
                ),
                ("text", chat.encryption.fields.EncryptedTextField(verbose_name="text")),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="created"),
                ),
                (
                    "prompt",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="versions",
                        to="chat.savedprompt",
                        verbose_name="prompt",
                    ),
                ),
            ],
            options={
                "verbose_name": "version",
                "verbose_name_plural": "versions",
                "ordering": ["-number"],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("prompt", "number"), name="one_text_per_number")
                ],
            },
        ),
    ]
