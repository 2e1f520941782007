"""One-time links: an invitation makes an account, a password link gives one a new password. Made by
an administrator and shown to him once; they expire, and only their sha256 is kept."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.db import transaction
from django.utils import timezone

from chat import live_settings
from chat.accounts.errors import LinkInvalid
from chat.accounts.secrets import digest, fresh
from chat.models import AccountLink, User

GOOD_FOR = {
    AccountLink.Kind.INVITATION: timedelta(days=7),
    AccountLink.Kind.PASSWORD: timedelta(days=1),
}


def invitation_create(
    *, made_by: User | None, group: Group | None = None
) -> tuple[AccountLink, str]:
    """The row, and the secret of a link that makes an account, in this group too where one is
    given."""
    return _create(AccountLink.Kind.INVITATION, made_by=made_by, group=group)


@transaction.atomic
def password_link_create(*, made_by: User | None, user: User) -> tuple[AccountLink, str]:
    """The row, and the secret of a link that gives this account a new password; earlier ones stop
    working."""
    AccountLink.objects.filter(kind=AccountLink.Kind.PASSWORD, user=user, used_at=None).delete()
    return _create(AccountLink.Kind.PASSWORD, made_by=made_by, user=user)


def _create(
    kind: AccountLink.Kind,
    *,
    made_by: User | None,
    group: Group | None = None,
    user: User | None = None,
) -> tuple[AccountLink, str]:
    secret = fresh()
    row = AccountLink.objects.create(
        kind=kind,
        digest=digest(secret),
        made_by=made_by,
        group=group,
        user=user,
        expires_at=timezone.now() + GOOD_FOR[kind],
    )
    return row, secret


def link_find(*, kind: AccountLink.Kind, secret: str) -> AccountLink:
    """A link that can still be used: an invitation not where nobody may make an account. Raises
    LinkInvalid."""
    if kind is AccountLink.Kind.INVITATION and live_settings.value("TINYLLM_SIGNUP") == "closed":
        raise LinkInvalid
    links = AccountLink.objects.select_related("user", "group")
    found = links.filter(
        kind=kind, digest=digest(secret), used_at=None, expires_at__gt=timezone.now()
    ).first()
    if found is None or (found.user is not None and not found.user.is_active):
        raise LinkInvalid
    return found


def _use(link: AccountLink) -> None:
    now = timezone.now()
    unused = AccountLink.objects.filter(pk=link.pk, used_at=None, expires_at__gt=now)
    if unused.update(used_at=now) != 1:
        raise LinkInvalid


@transaction.atomic
def invitation_accept(*, secret: str, username: str, email: str, password: str) -> User:
    """Use the link up and make the account. Raises LinkInvalid, and Django's ValidationError, after
    which the link can still be used."""
    link = link_find(kind=AccountLink.Kind.INVITATION, secret=secret)
    _use(link)
    user = get_user_model()(username=username, email=email)
    validate_password(password, user)
    user.set_password(password)
    user.full_clean()
    user.save()
    if link.group is not None:
        user.groups.add(link.group)
    return user


@transaction.atomic
def password_link_use(*, secret: str, password: str) -> User:
    """Use the link up and change the password, which signs the account out everywhere. Raises like
    `invitation_accept`."""
    link = link_find(kind=AccountLink.Kind.PASSWORD, secret=secret)
    assert link.user is not None
    _use(link)
    validate_password(password, link.user)
    link.user.set_password(password)
    link.user.save(update_fields=["password"])
    return link.user
