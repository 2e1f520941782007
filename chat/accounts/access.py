"""What is open ends with the right to it: a websocket outlives the page's cookie unless somebody
closes it. Whatever changes who may sign in tells the account's sockets to look again."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.http import HttpRequest

from chat.models import User
from chat.signals import announce_access
from chat.user_keys import parsed


def is_still_signed_in(scope: dict[str, Any]) -> bool:
    """Whether the session of this socket is there, and opens the same account, asked anew."""
    if settings.TINYLLM_LOCAL:
        return True
    request = HttpRequest()
    request.session = SessionStore(scope["session"].session_key)
    return bool(get_user(request).pk == scope["user"].pk)


def changed(owner_id: uuid.UUID) -> None:
    """After the transaction: who looks before that sees what was."""
    transaction.on_commit(partial(async_to_sync(announce_access), owner_id))


@receiver(post_save, sender=settings.AUTH_USER_MODEL)
def _account_saved(
    sender: type[User], instance: User, created: bool, update_fields: Any = None, **kwargs: Any
) -> None:
    told = {"password", "is_active"}
    if not created and (update_fields is None or told & set(update_fields)):
        changed(instance.pk)


@receiver(post_delete, sender=settings.AUTH_USER_MODEL)
def _account_deleted(sender: type[User], instance: User, **kwargs: Any) -> None:
    changed(instance.pk)


@receiver(post_delete, sender=Session)
def _session_ended(sender: type[Session], instance: Session, **kwargs: Any) -> None:
    """Django's own signal of a sign-out comes before the row is gone."""
    user_id = instance.get_decoded().get(SESSION_KEY)
    if user_id is not None:
        changed(parsed(user_id))
