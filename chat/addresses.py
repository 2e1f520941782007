"""Where the pages and their API are: at the root of our own site, anywhere in another project."""

from __future__ import annotations

from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, get_script_prefix, reverse

API = "chat_api"
"""The API's namespace among the addresses."""


def is_ours(request: HttpRequest) -> bool:
    """Below the address at which `chat.urls` is included."""
    return request.path.startswith(_address("new_session"))


def in_accounts(request: HttpRequest) -> bool:
    return request.path.startswith(_address("account"))


def in_api(request: HttpRequest) -> str | None:
    """What stands behind api/ in the address; None outside the API."""
    root = _address(f"{API}:api-root")
    return request.path.removeprefix(root) if request.path.startswith(root) else None


def in_admin(request: HttpRequest) -> bool:
    try:
        return request.path.startswith(_address("admin:index"))
    except NoReverseMatch:  # a project need not have its pages
        return False


def _address(name: str) -> str:
    return _reversed(name, settings.ROOT_URLCONF, get_script_prefix())


@lru_cache(maxsize=64)
def _reversed(name: str, urlconf: str, prefix: str) -> str:
    """Asked for several times in each request, and found in 50 µs. prefix: what `reverse` puts in
    front of it, as the server says with each request."""
    return reverse(name, urlconf)
