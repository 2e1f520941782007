from __future__ import annotations

import django.utils.timezone
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def show_the_newest(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Until now the newest message was the end of what is shown."""
    apps.get_model("chat", "Message").objects.update(shown_at=models.F("created_at"))


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0004_session_list"),
    ]

    operations = [
        migrations.AddField(
            model_name="message",
            name="shown_at",
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
        ),
        migrations.RunPython(show_the_newest, migrations.RunPython.noop),
    ]
