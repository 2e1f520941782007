"""Addresses of the operators' pages, below /admin/."""

from __future__ import annotations

from django.urls import URLPattern, path

from chat.operations import conversation_page, engine_page, models_page, settings_page

app_name = "operations"

urlpatterns: list[URLPattern] = [
    path("engine/", engine_page.engine_page, name="engine"),
    path("engine/status/", engine_page.engine_status, name="engine_status"),
    path(
        "engine/cancel/<uuid:generation_id>/",
        engine_page.cancel_generation,
        name="cancel_generation",
    ),
    path("conversations/<uuid:session_id>/", conversation_page.conversation, name="conversation"),
    path("settings/", settings_page.settings_page, name="settings"),
    path("settings/change/", settings_page.change_setting, name="change_setting"),
    path("models/", models_page.models_page, name="models"),
    path("models/status/", models_page.models_status, name="models_status"),
    *(
        path(f"models/{verb}/", models_page.models_act, {"verb": verb}, name=f"models_{verb}")
        for verb in models_page.VERBS
    ),
]
