"""Addresses: pages from chat.urls, the API and the admin."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from chat.api import api

handler500 = "chat.views.server_error"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", api.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("chat.v1.urls")),
    path("", include("chat.monitoring.urls")),
    path("", include("chat.urls")),
]
