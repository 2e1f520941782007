"""A bookshop's settings: its own accounts, pages and database, and an assistant for its members."""

from __future__ import annotations

from pathlib import Path

from tinyllm_site.defaults import *  # noqa: F403
from tinyllm_site.defaults import (
    TINYLLM_APPS,
    TINYLLM_DATA_DIR,
    TINYLLM_SQLITE_OPTIONS,
    TINYLLM_STATIC,
    TINYLLM_TEMPLATES,
)

BASE_DIR = Path(__file__).resolve().parent.parent
TINYLLM_LOCAL = False

SECRET_KEY = "of the bookshop, which is nowhere but in a test of the assistant"
ALLOWED_HOSTS = ["localhost"]
INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    *TINYLLM_APPS,
    "members",
]
ROOT_URLCONF = "bookshop.urls"
ASGI_APPLICATION = "bookshop.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates", TINYLLM_TEMPLATES],
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
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": TINYLLM_DATA_DIR / "db.sqlite3",
        "OPTIONS": TINYLLM_SQLITE_OPTIONS,
    }
}

AUTH_USER_MODEL = "members.Member"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGIN_URL = "login"

STATIC_URL = "/static/"
STATICFILES_DIRS = [TINYLLM_STATIC]
WHITENOISE_USE_FINDERS = True
