"""Where the pages and their API are: at the root of our own site, anywhere in another project."""

from __future__ import annotations

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

API = "chat_api"
"""The API's namespace among the addresses."""


def is_ours(request: HttpRequest) -> bool:
    """Below the address at which `chat.urls` is included."""
    return request.path.startswith(reverse("new_session"))


def in_api(request: HttpRequest) -> str | None:
    """What stands behind /api/ in the address; None outside the API."""
    root = reverse(f"{API}:api-root")
    return request.path.removeprefix(root) if request.path.startswith(root) else None


def is_admin(request: HttpRequest) -> bool:
    try:
        return request.path.startswith(reverse("admin:index"))
    except NoReverseMatch:  # a project need not have its pages
        return False
