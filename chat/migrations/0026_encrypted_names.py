"""Names of folders and presets may be encrypted. The database cannot keep them unique then, which
`chat.own_names` does. As in 0020, only PostgreSQL's limit on short texts is lifted, and a name of
before that happens to begin with the mark of what is encrypted is marked as plain.
"""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Value
from django.db.models.functions import Concat

from chat.encryption.fields import MARK, PLAIN_MARK, EncryptedCharField

NAMED = {"folder": 100, "preset": 80, "presetversion": 80}


def lift_limits(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        for model in NAMED:
            schema_editor.execute(f'ALTER TABLE chat_{model} ALTER COLUMN "name" TYPE text')


def mark_plain(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for model in NAMED:
        rows = apps.get_model("chat", model)._base_manager.using(schema_editor.connection.alias)
        marked = Concat(Value(PLAIN_MARK), "name", output_field=models.TextField())
        rows.filter(name__startswith=MARK).update(name=marked)


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0025_file_vectors"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="folder", name="one_folder_per_name"),
        migrations.RemoveConstraint(model_name="preset", name="one_preset_per_name"),
        migrations.AlterModelOptions(
            name="folder",
            options={
                "ordering": ["created_at"],
                "verbose_name": "folder",
                "verbose_name_plural": "folders",
            },
        ),
        migrations.AlterModelOptions(
            name="preset",
            options={
                "ordering": ["created_at"],
                "verbose_name": "preset",
                "verbose_name_plural": "presets",
            },
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(lift_limits, migrations.RunPython.noop)],
            state_operations=[
                migrations.AlterField(
                    model_name=model,
                    name="name",
                    field=EncryptedCharField(max_length=length, verbose_name="name"),
                )
                for model, length in NAMED.items()
            ],
        ),
        migrations.RunPython(mark_plain, migrations.RunPython.noop),
    ]
