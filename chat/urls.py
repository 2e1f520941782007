"""Addresses of the pages."""

from __future__ import annotations

from django.urls import URLPattern, path

from chat import views
from chat.shared_page import shared

urlpatterns: list[URLPattern] = [
    path("", views.new_session, name="new_session"),
    path("sessions/<uuid:session_id>/", views.session, name="session"),
    path("shared/<str:token>/", shared, name="shared"),
    path("setup/<str:token>/", views.setup, name="setup"),
]
