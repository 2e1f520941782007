"""Whoever runs the site reads a conversation only after saying why, and conversations may end by
age. What the admin's own log said of titles and texts until now is taken out of it."""

from __future__ import annotations

import uuid
from typing import Any

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models
from django.db.models import F

TELLING = ("session", "message", "feedback", "file")
"""Models whose rows the admin's log called by what they say."""


def forget_texts(apps: Any, schema_editor: Any) -> None:
    entries = apps.get_model("admin", "LogEntry").objects
    told = entries.filter(content_type__app_label="chat", content_type__model__in=TELLING)
    told.exclude(object_id=None).update(object_repr=F("object_id"))


def person(on_delete: Any, name: str, *, null: bool = False) -> Any:
    return models.ForeignKey(
        null=null,
        on_delete=on_delete,
        related_name="+",
        to=settings.AUTH_USER_MODEL,
        verbose_name=name,
    )


class Migration(migrations.Migration):
    dependencies = [
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("chat", "0016_site_setting"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="BreakGlass",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("reason", models.CharField(max_length=500, verbose_name="reason")),
                (
                    "opened_at",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="opened"),
                ),
                ("ends_at", models.DateTimeField(verbose_name="ends")),
                ("owner", person(django.db.models.deletion.CASCADE, "owner")),
                ("reader", person(django.db.models.deletion.SET_NULL, "reader", null=True)),
                (
                    "session",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="chat.session",
                        verbose_name="session",
                    ),
                ),
            ],
            options={
                "verbose_name": "emergency access",
                "verbose_name_plural": "emergency accesses",
                "ordering": ["-opened_at"],
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["session", "-opened_at"], name="glass_by_session"),
                    models.Index(fields=["owner", "-opened_at"], name="glass_by_owner"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Retention",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "days",
                    models.PositiveIntegerField(
                        help_text="After the last message. 0: for ever. Where a person is in several groups, the shortest counts. What is older is deleted for good, within a minute.",
                        validators=[django.core.validators.MaxValueValidator(36500)],
                        verbose_name="days",
                    ),
                ),
                (
                    "group",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="retention",
                        to="auth.group",
                        verbose_name="group",
                    ),
                ),
            ],
            options={
                "verbose_name": "retention",
                "verbose_name_plural": "retention",
                "ordering": ["days"],
            },
        ),
        migrations.AlterModelOptions(
            name="operatorrights",
            options={
                "default_permissions": (),
                "managed": False,
                "permissions": [
                    ("view_engine", "Can look at the engine, its requests and models"),
                    (
                        "operate_engine",
                        "Can cancel requests, and fetch, load, unload and remove models",
                    ),
                    ("break_glass", "Can read one conversation for a while, after saying why"),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(fields=["updated_at"], name="session_by_age"),
        ),
        migrations.RunPython(forget_texts, migrations.RunPython.noop),
    ]
