"""The settings of local mode with static files as a site with accounts has them: collected, under
names with a hash. Only our own are, not the admin's."""

from __future__ import annotations

from tinyllm_site.settings import *  # noqa: F403
from tinyllm_site.settings import TINYLLM_DATA_DIR

STATIC_ROOT = TINYLLM_DATA_DIR / "static"
STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
WHITENOISE_USE_FINDERS = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "tinyllm_site.static_storage.HashedStaticFilesStorage"},
}
