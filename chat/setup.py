"""The one-time link that makes the first administrator."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.db import transaction
from django.utils import timezone

from chat.accounts.secrets import digest, fresh
from chat.errors import SetupLinkInvalid
from chat.models import SetupToken, User


def has_administrator() -> bool:
    return get_user_model().objects.filter(is_superuser=True, is_active=True).exists()


def has_account() -> bool:
    """Whether anyone can sign in with a password."""
    users = get_user_model().objects.filter(is_active=True)
    return any(user.has_usable_password() for user in users.iterator())


@transaction.atomic
def setup_token_create() -> str:
    """A fresh token for /setup/<token>/; earlier ones stop working. Only its hash is kept."""
    SetupToken.objects.filter(used_at=None).delete()
    token = fresh()
    SetupToken.objects.create(digest=digest(token))
    return token


def setup_token_is_valid(*, token: str) -> bool:
    return SetupToken.objects.filter(digest=digest(token), used_at=None).exists()


@transaction.atomic
def create_first_admin(*, token: str, username: str, password: str) -> User:
    """Use the token up and make a superuser.

    Raises SetupLinkInvalid, and Django's ValidationError for a weak password or a taken or
    impossible name; the token stays usable then.
    """
    used = SetupToken.objects.filter(digest=digest(token), used_at=None).update(
        used_at=timezone.now()
    )
    if used != 1:
        raise SetupLinkInvalid
    user = get_user_model()(username=username, is_staff=True, is_superuser=True)
    validate_password(password, user)
    user.set_password(password)
    user.full_clean()
    user.save()
    return user
