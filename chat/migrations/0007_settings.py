import uuid

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("chat", "0006_accounts"),
    ]

    operations = [
        migrations.AddField(
            model_name="generation",
            name="context",
            field=models.JSONField(blank=True, null=True, verbose_name="context"),
        ),
        migrations.AddField(
            model_name="session",
            name="settings",
            field=models.JSONField(blank=True, null=True, verbose_name="settings"),
        ),
        migrations.CreateModel(
            name="Preset",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=80, verbose_name="name")),
                ("settings", models.JSONField(blank=True, default=dict, verbose_name="settings")),
                ("is_default", models.BooleanField(default=False, verbose_name="for new sessions")),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="created"),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="presets",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="owner",
                    ),
                ),
            ],
            options={
                "verbose_name": "preset",
                "verbose_name_plural": "presets",
                "ordering": ["name"],
                "constraints": [
                    models.UniqueConstraint(fields=("owner", "name"), name="one_preset_per_name"),
                    models.UniqueConstraint(
                        condition=models.Q(("is_default", True)),
                        fields=("owner",),
                        name="one_default_preset",
                    ),
                ],
            },
        ),
    ]
