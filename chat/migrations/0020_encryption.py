"""Columns that may hold encrypted values. What such a column is made of stays, but for the limit of
short texts on PostgreSQL (on SQLite there is none to keep): no table is written anew.

A text of before that happens to begin with the mark of what is encrypted is marked as plain.
"""

import django.utils.timezone
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Value
from django.db.models.functions import Concat

from chat.encryption.fields import (
    MARK,
    PLAIN_MARK,
    EncryptedBinaryField,
    EncryptedCharField,
    EncryptedJSONField,
    EncryptedTextField,
)

SHORT = [("file", "name"), ("session", "title"), ("sharelink", "title")]
TEXTS = [
    *SHORT,
    ("feedback", "comment"),
    ("file", "text"),
    ("message", "content"),
    ("messagereading", "prompt_text"),
]


def lift_limits(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        for model, column in SHORT:
            schema_editor.execute(f'ALTER TABLE chat_{model} ALTER COLUMN "{column}" TYPE text')


def mark_plain(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for model, column in TEXTS:
        rows = apps.get_model("chat", model)._base_manager.using(schema_editor.connection.alias)
        marked = Concat(Value(PLAIN_MARK), column, output_field=models.TextField())
        rows.filter(**{f"{column}__startswith": MARK}).update(**{column: marked})


def altered(model: str, name: str, field: models.Field) -> migrations.AlterField:  # type: ignore[type-arg]
    return migrations.AlterField(model_name=model, name=name, field=field)


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0019_versions_and_sealed_factors"),
    ]

    operations = [
        migrations.CreateModel(
            name="EncryptionKey",
            fields=[
                ("id", models.CharField(max_length=8, primary_key=True, serialize=False)),
                ("since", models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(lift_limits, migrations.RunPython.noop)],
            state_operations=[
                altered("event", "payload", EncryptedJSONField(default=dict)),
                altered(
                    "feedback", "comment", EncryptedTextField(blank=True, verbose_name="reason")
                ),
                altered("file", "name", EncryptedCharField(max_length=255, verbose_name="name")),
                altered("file", "places", EncryptedJSONField(default=list)),
                altered("file", "text", EncryptedTextField()),
                altered(
                    "generation",
                    "context",
                    EncryptedJSONField(blank=True, null=True, verbose_name="context"),
                ),
                altered(
                    "generation",
                    "sampling",
                    EncryptedJSONField(default=dict, verbose_name="sampling"),
                ),
                altered("generation", "prompt_ids", EncryptedBinaryField(default=bytes)),
                altered("generation", "output_ids", EncryptedBinaryField(default=bytes)),
                altered("generation", "token_offsets", EncryptedBinaryField(default=bytes)),
                altered("generation", "prefix_offsets", EncryptedBinaryField(default=bytes)),
                altered(
                    "message", "content", EncryptedTextField(blank=True, verbose_name="content")
                ),
                altered("messagereading", "passages", EncryptedJSONField(default=list)),
                altered("messagereading", "prompt_text", EncryptedTextField()),
                altered(
                    "preset",
                    "settings",
                    EncryptedJSONField(blank=True, default=dict, verbose_name="settings"),
                ),
                altered(
                    "session",
                    "settings",
                    EncryptedJSONField(blank=True, null=True, verbose_name="settings"),
                ),
                altered(
                    "session",
                    "title",
                    EncryptedCharField(blank=True, max_length=200, verbose_name="title"),
                ),
                altered("sharelink", "messages", EncryptedJSONField(verbose_name="messages")),
                altered(
                    "sharelink", "title", EncryptedCharField(max_length=200, verbose_name="title")
                ),
            ],
        ),
        migrations.RunPython(mark_plain, migrations.RunPython.noop),
    ]
