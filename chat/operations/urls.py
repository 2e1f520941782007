"""Addresses of the operators' pages, below /admin/."""

from __future__ import annotations

from django.urls import URLPattern, path

from chat.operations import (
    conversation_page,
    engine_page,
    models_page,
    settings_page,
    traces_page,
)

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
    path("traces/", traces_page.traces_page, name="traces"),
    path("traces/<str:trace_id>/", traces_page.trace_page, name="trace"),
    path("traces/<str:trace_id>/chrome.json", traces_page.trace_file, name="trace_file"),
    path(
        "generation-trace/<uuid:generation_id>/",
        traces_page.generation_trace,
        name="generation_trace",
    ),
    path(
        "generation-trace/<uuid:generation_id>/chrome.json",
        traces_page.generation_trace_file,
        name="generation_trace_file",
    ),
    path("settings/", settings_page.settings_page, name="settings"),
    path("settings/change/", settings_page.change_setting, name="change_setting"),
    path("models/", models_page.models_page, name="models"),
    path("models/status/", models_page.models_status, name="models_status"),
    *(
        path(f"models/{verb}/", models_page.models_act, {"verb": verb}, name=f"models_{verb}")
        for verb in models_page.VERBS
    ),
]
