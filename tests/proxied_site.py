"""The settings of a site behind a proxy, with collected files in the folder of its data."""

from __future__ import annotations

from tinyllm_site.settings import *  # noqa: F403
from tinyllm_site.settings import TINYLLM_DATA_DIR

STATIC_ROOT = TINYLLM_DATA_DIR / "static"
