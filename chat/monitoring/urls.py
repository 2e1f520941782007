"""Addresses that a supervisor asks."""

from __future__ import annotations

from django.urls import URLPattern, path

from chat.monitoring import views

urlpatterns: list[URLPattern] = [
    path("healthz", views.healthz),
    path("readyz", views.readyz),
    path("health", views.readyz),
    path("version", views.version),
    path("metrics", views.metrics),
]
