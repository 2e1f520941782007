from __future__ import annotations

import uuid

import django.db.models.deletion
import django.utils.timezone
from django.apps.registry import Apps
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# Operators see who there is and what runs, and stop it. Texts they do not see.
ACCOUNT = tuple(settings.AUTH_USER_MODEL.lower().split("."))
OPERATORS_MAY = {
    ACCOUNT: {f"view_{ACCOUNT[1]}": "Can view user"},
    ("chat", "generation"): {
        "view_generation": "Can view generation",
        "change_generation": "Can change generation",
    },
}


def make_roles(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Permissions are otherwise made after the last migration, so those that are needed are made
    here if they are not there."""
    group = apps.get_model("auth", "Group").objects
    permission = apps.get_model("auth", "Permission").objects
    content_type = apps.get_model("contenttypes", "ContentType").objects
    operators, _ = group.get_or_create(name="operators")
    for (app, model), names in OPERATORS_MAY.items():
        kind, _ = content_type.get_or_create(app_label=app, model=model)
        for codename, name in names.items():
            right, _ = permission.get_or_create(
                content_type=kind, codename=codename, defaults={"name": name}
            )
            operators.permissions.add(right)
    members, _ = group.get_or_create(name="members")
    for user in apps.get_model(settings.AUTH_USER_MODEL).objects.exclude(username="local"):
        user.groups.add(members)


def remove_roles(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("auth", "Group").objects.filter(name__in=["members", "operators"]).delete()


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("chat", "0005_message_shown_at"),
    ]

    operations = [
        migrations.CreateModel(
            name="AccountLink",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("invitation", "invitation"), ("password", "new password")],
                        max_length=16,
                        verbose_name="kind",
                    ),
                ),
                ("digest", models.CharField(editable=False, max_length=64, unique=True)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="made"),
                ),
                ("expires_at", models.DateTimeField(verbose_name="expires")),
                ("used_at", models.DateTimeField(blank=True, null=True, verbose_name="used")),
                (
                    "group",
                    models.ForeignKey(
                        blank=True,
                        help_text="Of the new account. Without one it is an ordinary member.",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="auth.group",
                        verbose_name="group",
                    ),
                ),
                (
                    "made_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="made by",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="account_links",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "one-time link",
                "verbose_name_plural": "one-time links",
                "ordering": ("-created_at",),
            },
        ),
        migrations.CreateModel(
            name="ApiToken",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                ("prefix", models.CharField(max_length=16, verbose_name="begins with")),
                ("digest", models.CharField(editable=False, max_length=64, unique=True)),
                ("scopes", models.JSONField(default=list, verbose_name="scopes")),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="made"),
                ),
                ("expires_at", models.DateTimeField(blank=True, null=True, verbose_name="expires")),
                (
                    "last_used_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="last used"),
                ),
                ("revoked_at", models.DateTimeField(blank=True, null=True, verbose_name="revoked")),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="api_tokens",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="owner",
                    ),
                ),
            ],
            options={
                "verbose_name": "API token",
                "verbose_name_plural": "API tokens",
                "ordering": ("-created_at",),
            },
        ),
        migrations.RunPython(make_roles, remove_roles),
    ]
