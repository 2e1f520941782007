"""What a project has to give the apps that it adds: each thing that is missing is named, with the
line that gives it (docs/embedding.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.urls import NoReverseMatch, reverse

Check = Callable[..., list[CheckMessage]]

APPS = (
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "ninja",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "allauth.usersessions",
    "inference",
)
DEFAULTS = "from tinyllm_site.defaults import *"
OWN = {
    "BASE_DIR": "the folder of manage.py",
    "TINYLLM_LOCAL": "False, where people sign in",
}
"""What no default can say."""


def demand_apps() -> None:
    """Before anything imports their models. Raises ImproperlyConfigured."""
    missing = [name for name in APPS if not apps.is_installed(name)]
    if missing:
        raise ImproperlyConfigured(
            f"INSTALLED_APPS lacks {', '.join(missing)}: add unfold in front of "
            f"django.contrib.admin, and *TINYLLM_APPS (`{DEFAULTS}`)."
        )


def missing_settings() -> list[str]:
    from tinyllm_site import defaults

    needed = [*OWN, *(name for name in vars(defaults) if name.startswith("TINYLLM_"))]
    return [name for name in needed if not hasattr(settings, name)]


def with_settings(check: Check) -> Check:
    """A check that has nothing to say while settings are missing, which is said already."""

    @wraps(check)
    def patient(*args: Any, **kwargs: Any) -> list[CheckMessage]:
        return [] if missing_settings() else check(*args, **kwargs)

    return patient


@register()
def all_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    missing = missing_settings()
    own = [name for name in OWN if name in missing]
    hints = [f"Begin your settings with `{DEFAULTS}`."] if len(missing) > len(own) else []
    hints += [f"Set {name}: {OWN[name]}." for name in own]
    told = f"Settings of TinyLLM are missing: {', '.join(sorted(missing))}."
    return [Error(told, hint=" ".join(hints), id="chat.E007")] if missing else []


@register()
def all_middleware(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    from tinyllm_site import defaults

    ours = [name for name in defaults.MIDDLEWARE if not name.startswith("django.")]
    optional = "tinyllm_site.static_files.StaticFilesMiddleware"
    missing = [name for name in ours if name not in (*settings.MIDDLEWARE, optional)]
    hint = "Keep the MIDDLEWARE of tinyllm_site/defaults.py, or add these where they stand there."
    told = f"MIDDLEWARE lacks {', '.join(missing)}."
    return [Error(told, hint=hint, id="chat.E008")] if missing else []


@register()
def pages(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    try:
        reverse("new_session")
    except NoReverseMatch:
        hint = 'Add path("assistant/", include("chat.urls")), below an address of your choice.'
        found.append(Error("The pages of chat.urls are nowhere.", hint=hint, id="chat.E009"))
    try:
        get_template("chat/page.html")
    except TemplateDoesNotExist:
        hint = "Add TINYLLM_TEMPLATES to the DIRS of TEMPLATES, behind folders of your own."
        found.append(Error("The pages have no templates.", hint=hint, id="chat.E010"))
    if finders.find("chat/main.js") is None:
        hint = "Add TINYLLM_STATIC to STATICFILES_DIRS."
        found.append(Error("The pages have no scripts and styles.", hint=hint, id="chat.E011"))
    return found
