"""Whose sessions a request may see. In local mode one user owns everything."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model

from chat.errors import NotSignedIn
from chat.models import User
from chat.models.people import LOCAL_USERNAME


def owner_id(user: Any) -> uuid.UUID:
    """The owner to filter by, given a request's or a socket's user. Raises NotSignedIn."""
    if settings.TINYLLM_LOCAL:
        return local_user().pk
    if user is None or not user.is_authenticated:
        raise NotSignedIn
    identity: uuid.UUID = user.pk
    return identity


def local_user() -> User:
    """The one user of local mode. It has no password, so nobody can sign in as it."""
    user, created = get_user_model().objects.get_or_create(username=LOCAL_USERNAME)
    if created:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    return user
