"""Addresses: pages and their API from chat.urls, the API for other programs, and the admin."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

handler500 = "chat.views.server_error"

urlpatterns = [
    path("admin/", include("chat.operations.urls")),
    path("admin/", admin.site.urls),
    path("", include("chat.v1.urls")),
    path("", include("chat.monitoring.urls")),
    path("", include("chat.urls")),
]
