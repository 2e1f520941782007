"""What a preset was is kept, and which version an answer was written with. Second factors that are
there already are encrypted."""

from __future__ import annotations

from typing import Any

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from chat.accounts.sealing import MARK, sealed
from chat.encryption.fields import EncryptedJSONField
from chat.session_settings.versions import digest


def seal_factors(apps: Any, schema_editor: Any) -> None:
    for row in apps.get_model("mfa", "Authenticator").objects.iterator():
        secrets = (row.data.get("secret"), row.data.get("seed"))
        if not any(str(secret).startswith(MARK) for secret in secrets):
            row.data = sealed(row.data)
            row.save(update_fields=["data"])


def first_versions(apps: Any, schema_editor: Any) -> None:
    made = apps.get_model("chat", "PresetVersion").objects
    for preset in apps.get_model("chat", "Preset").objects.iterator():
        made.create(
            preset=preset,
            number=1,
            name=preset.name,
            settings=preset.settings,
            digest=digest(preset.settings),
            created_at=preset.created_at,
        )


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0018_break_glass_and_retention"),
        ("mfa", "0003_authenticator_type_uniq"),
    ]

    operations = [
        migrations.CreateModel(
            name="PresetVersion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveIntegerField(verbose_name="version")),
                ("name", models.CharField(max_length=80, verbose_name="name")),
                ("settings", EncryptedJSONField(blank=True, default=dict, verbose_name="settings")),
                ("digest", models.CharField(db_index=True, editable=False, max_length=64)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="created"),
                ),
                (
                    "preset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="versions",
                        to="chat.preset",
                        verbose_name="preset",
                    ),
                ),
            ],
            options={
                "verbose_name": "version",
                "verbose_name_plural": "versions",
                "default_permissions": (),
                "ordering": ["-number"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("preset", "number"), name="one_version_per_number"
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="generation",
            name="preset_version",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="chat.presetversion",
                verbose_name="version of a preset",
            ),
        ),
        migrations.RunPython(first_versions, migrations.RunPython.noop),
        migrations.RunPython(seal_factors, migrations.RunPython.noop),
    ]
