"""The shop at the root, the assistant below an address of its own."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.urls import include, path
from django.views.generic import TemplateView

urlpatterns = [
    path("", TemplateView.as_view(template_name="shop.html")),
    path("login/", LoginView.as_view(), name="login"),
    path("admin/", include("chat.operations.urls")),
    path("admin/", admin.site.urls),
    path("assistant/", include("chat.urls")),
    path("assistant/", include("chat.v1.urls")),
]
