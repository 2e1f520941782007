"""Second factors that are there already are encrypted."""

from __future__ import annotations

from typing import Any

from django.db import migrations

from chat.accounts.sealing import MARK, sealed


def seal_factors(apps: Any, schema_editor: Any) -> None:
    for row in apps.get_model("mfa", "Authenticator").objects.iterator():
        secrets = (row.data.get("secret"), row.data.get("seed"))
        if not any(str(secret).startswith(MARK) for secret in secrets):
            row.data = sealed(row.data)
            row.save(update_fields=["data"])


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0018_break_glass_and_retention"),
        ("mfa", "0003_authenticator_type_uniq"),
    ]

    operations = [
        migrations.RunPython(seal_factors, migrations.RunPython.noop),
    ]
