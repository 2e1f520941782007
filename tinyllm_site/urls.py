"""Addresses: pages from chat.urls, the API and the admin."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.urls import include, path
from django.views.i18n import set_language

from chat.api import api
from chat.api_v1.api import api as api_v1

handler500 = "chat.views.server_error"

urlpatterns = [
    path("admin/", include("chat.operations.urls")),
    path("admin/", admin.site.urls),
    path("account/", include("chat.accounts.urls")),
    path("api/v1/", api_v1.urls),
    path("api/", api.urls),
    # Whoever is about to sign in may choose a language too.
    path("i18n/setlang/", login_not_required(set_language), name="set_language"),
    path("", include("chat.v1.urls")),
    path("", include("chat.monitoring.urls")),
    path("", include("chat.urls")),
]
