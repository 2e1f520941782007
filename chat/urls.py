"""Addresses of the pages."""

from __future__ import annotations

from django.urls import URLPattern, path

from chat import views
from chat.learn import views as learn
from chat.privacy.views import own_archive, own_data
from chat.shared_page import shared

urlpatterns: list[URLPattern] = [
    path("", views.new_session, name="new_session"),
    path("sessions/<uuid:session_id>/", views.session, name="session"),
    path("sessions/<uuid:session_id>/earlier/", views.earlier, name="earlier"),
    path("my-data/", own_data, name="own_data"),
    path("my-data/archive/", own_archive, name="own_archive"),
    path("learn/", learn.learn, name="learn"),
    path("learn/source/<path:path>", learn.source, name="learn_source"),
    path("shared/<str:token>/", shared, name="shared"),
    path("setup/<str:token>/", views.setup, name="setup"),
]
