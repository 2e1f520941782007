from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0008_files"),
    ]

    operations = [
        migrations.AddField(
            model_name="generation",
            name="prefix_offsets",
            field=models.BinaryField(default=bytes),
        ),
    ]
