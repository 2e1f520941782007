"""Roles are groups: `members`, who may chat, and `operators`, who look after the engine and see
what runs, but not what people write. A superuser may everything."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models.signals import m2m_changed, post_save
from django.dispatch import receiver

from chat.models import User
from chat.models.people import LOCAL_USERNAME

MEMBERS = "members"
OPERATORS = "operators"


@receiver(post_save, sender=settings.AUTH_USER_MODEL)
def _new_accounts_are_members(
    sender: type[User], instance: User, created: bool, raw: bool, **kwargs: Any
) -> None:
    if created and not raw and instance.username != LOCAL_USERNAME:
        instance.groups.add(Group.objects.get_or_create(name=MEMBERS)[0])


@receiver(post_save, sender=settings.AUTH_USER_MODEL)
def _one_address(
    sender: type[User], instance: User, update_fields: Any = None, **kwargs: Any
) -> None:
    """allauth keeps addresses in a table of its own too, by which one can sign in: an address that
    a person gave up must not go on opening the account."""
    if update_fields is None or "email" in update_fields:
        EmailAddress.objects.filter(user=instance).exclude(email__iexact=instance.email).delete()


@receiver(m2m_changed, sender=get_user_model().groups.through)
def _operators_are_staff(
    sender: Any, instance: Any, action: str, reverse: bool, pk_set: set[Any] | None, **kwargs: Any
) -> None:
    """`is_staff`, which the admin and the API ask for, follows from joining and leaving."""
    if action not in ("post_add", "post_remove"):
        return
    changed, other = pk_set or set(), {instance.pk}
    groups, people = (other, changed) if reverse else (changed, other)
    if Group.objects.filter(pk__in=groups, name=OPERATORS).exists():
        users = get_user_model().objects.filter(pk__in=people, is_superuser=False)
        users.update(is_staff=action == "post_add")
        if not reverse:
            instance.refresh_from_db(fields=["is_staff"])
