"""The chat app. `ready` registers system checks and what follows a deletion, and starts nothing."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ChatConfig(AppConfig):
    name = "chat"
    verbose_name = _("Chat")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from chat import host_checks

        host_checks.demand_apps()
        from chat import audited_changes, checks, forgetting  # noqa: F401
        from chat.accounts import access, roles  # noqa: F401
