"""Misconfiguration found before the first request, each with an id and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from chat.encryption.keys import NAME, keys
from chat.filtering import filters
from chat.host_checks import with_settings
from chat.live_settings import SIGNUP
from chat.site_tools.chosen import tools


@register()
def secret_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    try:
        present = bool(settings.SECRET_KEY)
    except ImproperlyConfigured:
        present = False
    if present:
        return []
    return [
        Error(
            "SECRET_KEY is missing.",
            hint="Outside local mode the key comes from the environment: set SECRET_KEY to 50 or "
            "more random characters, the same for every process of this site.",
            id="chat.E001",
        )
    ]


@register()
@with_settings
def allowed_hosts(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if settings.TINYLLM_LOCAL or settings.ALLOWED_HOSTS:
        return []
    return [
        Error(
            "ALLOWED_HOSTS is empty.",
            hint="Outside local mode name the hosts that this site answers to, for example "
            "ALLOWED_HOSTS=chat.example.org.",
            id="chat.E002",
        )
    ]


@register()
@with_settings
def signing_in(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.TINYLLM_SIGNUP not in SIGNUP:
        found.append(
            Error(
                f"TINYLLM_SIGNUP = {settings.TINYLLM_SIGNUP} is not allowed.",
                hint=f"It must be one of {', '.join(SIGNUP)}.",
                id="chat.E004",
            )
        )
    if settings.TINYLLM_OIDC_ISSUER and not settings.TINYLLM_OIDC_CLIENT_ID:
        found.append(
            Error(
                "TINYLLM_OIDC_ISSUER is set, but TINYLLM_OIDC_CLIENT_ID is not.",
                hint="Register this site with the provider, and set the id that it gives.",
                id="chat.E005",
            )
        )
    return found


@register()
@with_settings
def engine_numbers(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    return [
        Error(
            f"{name} = {value} is not allowed.",
            hint=f"{name} must be at least {least}.",
            id="chat.E003",
        )
        for name, least in (
            ("TINYLLM_THREADS", 1),
            ("TINYLLM_KV_TOKENS", 16),
            ("TINYLLM_CONTEXT_TOKENS", 0),
            ("TINYLLM_MAX_BATCH", 1),
            ("TINYLLM_DEADLINE_S", 0),
            ("TINYLLM_TOKENS_PER_DAY", 0),
            ("TINYLLM_CONCURRENT_TURNS", 0),
            ("TINYLLM_RETENTION_DAYS", 0),
            ("TINYLLM_MEMORY_GB", 0.1),
            ("TINYLLM_KEEP_ALIVE_S", 0),
        )
        if (value := getattr(settings, name)) is not None and value < least
    ]


@register()
@with_settings
def content_filters(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    try:
        filters()
    except ImproperlyConfigured as error:
        hint = "docs/filtering.md says which filters there are, and how to write one."
        return [Error(str(error), hint=hint, id="chat.E006")]
    return []


@register()
@with_settings
def site_tools(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    try:
        tools()
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="docs/plugins.md says what a tool is.", id="chat.E016")]
    return []


@register()
@with_settings
def encryption_keys(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    try:
        keys()
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="openssl rand -base64 32 makes one.", id="chat.E012")]
    return []


@register(Tags.database)
@with_settings
def encrypted_rows(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Of `manage.py check --database default`, of migrate, and of every start of the site."""
    from chat.encryption.used_keys import missing

    try:
        absent = missing()
    except DatabaseError:  # it is not migrated yet
        return []
    except ImproperlyConfigured:  # which encryption_keys says
        return []
    if not absent:
        return []
    return [
        Error(
            f"Conversations in the database are encrypted with {', '.join(absent)}: "
            f"{NAME} has no such key.",
            hint=f"Put the key that they were written with into {NAME}; behind a new first one, "
            "separated by a comma, if there is one. Without it they cannot be read by anybody.",
            id="chat.E013",
        )
    ]
