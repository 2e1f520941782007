"""Addresses of the pages."""

from __future__ import annotations

from django.urls import URLPattern, path

from chat import views
from chat.learn import views as learn

urlpatterns: list[URLPattern] = [
    path("", views.new_session, name="new_session"),
    path("sessions/<uuid:session_id>/", views.session, name="session"),
    path("learn/", learn.learn, name="learn"),
    path("learn/source/<path:path>", learn.source, name="learn_source"),
    path("setup/<str:token>/", views.setup, name="setup"),
]
