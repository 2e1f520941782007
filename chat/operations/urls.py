"""Addresses of the operators' pages, below /admin/."""

from __future__ import annotations

from django.urls import URLPattern, path

from chat.operations import engine_page

app_name = "operations"

urlpatterns: list[URLPattern] = [
    path("engine/", engine_page.engine_page, name="engine"),
    path("engine/status/", engine_page.engine_status, name="engine_status"),
    path(
        "engine/cancel/<uuid:generation_id>/",
        engine_page.cancel_generation,
        name="cancel_generation",
    ),
]
