"""The model store as the site's settings describe it."""

from __future__ import annotations

from django.conf import settings

from inference.catalogue import Catalogue
from inference.http_client import HubSettings
from inference.model_store import ModelStore


def store_from_settings() -> ModelStore:
    """Raises CatalogueError when the catalogue is malformed."""
    hub = HubSettings(
        endpoint=settings.TINYLLM_HUB_ENDPOINT,
        token=settings.TINYLLM_HUB_TOKEN or None,
        offline=settings.TINYLLM_HUB_OFFLINE,
    )
    return ModelStore(settings.TINYLLM_MODELS_DIR, Catalogue.load(), hub)
