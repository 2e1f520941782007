"""Settings of the site. Every value that a machine may change comes through `tinyllm_site.env`;
what the apps need wherever they are is `tinyllm_site.defaults`.

Local mode (the default) is one person on one machine: no login, its own key, loopback only.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from tinyllm_site import env
from tinyllm_site.defaults import *  # noqa: F403
from tinyllm_site.defaults import (
    TINYLLM_APPS,
    TINYLLM_BEHIND_PROXY,
    TINYLLM_DATA_DIR,
    TINYLLM_SQLITE_OPTIONS,
    TINYLLM_STATIC,
    TINYLLM_TEMPLATES,
)
from tinyllm_site.secret import local_secret_key

BASE_DIR = env.BASE_DIR

env.refuse(TINYLLM_LOCAL="TINYLLM_MODE to local or production")
TINYLLM_LOCAL = env.choice("TINYLLM_MODE", ("local", "production")) == "local"
DEBUG = False
SECRET_KEY = env.secret("SECRET_KEY") or (
    local_secret_key(TINYLLM_DATA_DIR / "secret_key") if TINYLLM_LOCAL else ""
)
# Of before: what they signed and encrypted is still read.
SECRET_KEY_FALLBACKS = env.secrets("SECRET_KEY_FALLBACKS")
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS")
if TINYLLM_LOCAL:
    ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "daphne",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    *TINYLLM_APPS,
]

ROOT_URLCONF = "tinyllm_site.urls"
ASGI_APPLICATION = "tinyllm_site.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [TINYLLM_TEMPLATES],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

_database: dict[str, Any] = env.database(TINYLLM_DATA_DIR / "db.sqlite3")
if _database["ENGINE"] == "django.db.backends.sqlite3":
    TINYLLM_DATA_DIR.mkdir(parents=True, exist_ok=True)
    _database["OPTIONS"] = TINYLLM_SQLITE_OPTIONS
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "chat.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "chat" / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = None if TINYLLM_LOCAL else BASE_DIR / "staticfiles"
STATICFILES_DIRS = [TINYLLM_STATIC]
# Local mode serves the files where they lie; elsewhere `collectstatic` gives each name its hash.
WHITENOISE_USE_FINDERS = TINYLLM_LOCAL
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if TINYLLM_LOCAL
            else "tinyllm_site.static_storage.HashedStaticFilesStorage"
        )
    },
}

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not TINYLLM_LOCAL
SECURE_SSL_REDIRECT = not TINYLLM_LOCAL
SECURE_HSTS_SECONDS = 0 if TINYLLM_LOCAL else 30 * 24 * 3600
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TINYLLM_BEHIND_PROXY else None
# Subdomains and the browsers' preload list commit a whole domain, which is not ours to commit.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
