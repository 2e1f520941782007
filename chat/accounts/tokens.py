"""API tokens: made, checked and revoked. The text is shown once; what is kept is its sha256.

`token_use` is the whole check, for every API of the site.
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum

from django.core.cache import cache
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from chat import audit
from chat.accounts import access
from chat.accounts.errors import TokenExpired, TokenRevoked, TokenScopeMissing, TokenUnknown
from chat.accounts.secrets import digest, fresh
from chat.models import ApiToken, User

START = "tl-"
PREFIX_LENGTH = len(START) + 6
"""Characters of a token that are kept to know it by. The other 37 hold 222 random bits."""
USE_NOTED_EVERY = timedelta(minutes=1)
REFUSAL_NOTED_EVERY = timedelta(minutes=10)


class Scope(StrEnum):
    """What a token may be used for, never more than its owner may."""

    CHAT = "chat"
    """To write: messages, titles, deletions."""
    READ = "read"
    """To look at sessions, models, and what is being written."""
    ADMIN = "admin"
    """What only staff may do."""


def token_create(
    *, owner: User, name: str, scopes: Collection[Scope], expires_at: datetime | None = None
) -> tuple[ApiToken, str]:
    """The row, and the token's text, which nobody can read again."""
    text = START + fresh()
    row = ApiToken.objects.create(
        owner=owner,
        name=name,
        prefix=text[:PREFIX_LENGTH],
        digest=digest(text),
        scopes=[scope for scope in Scope if scope in scopes],
        expires_at=expires_at,
    )
    return row, text


def token_use(*, text: str, scope: Scope) -> ApiToken:
    """The token with this text, its owner fetched. Raises TokenUnknown, TokenRevoked, TokenExpired,
    TokenScopeMissing."""
    wanted = digest(text)
    token = ApiToken.objects.select_related("owner").filter(digest=wanted).first()
    # The index compares as any index does; the last word has a comparison that tells no times.
    if token is None or not hmac.compare_digest(token.digest, wanted) or not token.owner.is_active:
        raise TokenUnknown
    now = timezone.now()
    if token.revoked_at is not None:
        raise TokenRevoked(token.prefix)
    if token.expires_at is not None and token.expires_at <= now:
        raise TokenExpired(token.prefix, token.expires_at)
    if scope not in token.scopes:
        _note_refusal(token, scope)
        raise TokenScopeMissing(token.prefix, scope, token.scopes)
    _note_use(token, now)
    return token


def _note_refusal(token: ApiToken, scope: Scope) -> None:
    """A program that tries what it may not, or a token in other hands: its administrator is to
    know. Once a while, since such programs try again."""
    if cache.add(f"token.refused.{token.pk}.{scope}", True, REFUSAL_NOTED_EVERY.total_seconds()):
        audit.record(
            "apitoken.refused",
            target_type="apitoken",
            target_id=token.pk,
            target=str(token),
            after={"owner": str(token.owner), "scope": scope, "scopes": token.scopes},
            by=token.owner,
        )


def _note_use(token: ApiToken, now: datetime) -> None:
    """At most once a minute, whoever asks: reading should not wait for a writer each time."""
    noted_before = now - USE_NOTED_EVERY
    if token.last_used_at is None or token.last_used_at <= noted_before:
        stale = Q(last_used_at=None) | Q(last_used_at__lte=noted_before)
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)


def tokens_of(*, owner: User) -> QuerySet[ApiToken]:
    return ApiToken.objects.filter(owner=owner)


def token_revoke(*, owner: User, token_id: uuid.UUID) -> bool:
    """Whether there was one of this owner's to revoke."""
    return tokens_revoke(ApiToken.objects.filter(pk=token_id, owner=owner)) == 1


@transaction.atomic
def tokens_revoke(tokens: QuerySet[ApiToken]) -> int:
    """Returns how many were not revoked before. What they had open ends. One by one, so that the
    audit log hears of each."""
    valid = list(tokens.filter(revoked_at=None).select_for_update())
    for token in valid:
        token.revoked_at = timezone.now()
        token.save(update_fields=["revoked_at"])
        access.changed(token.owner_id)
    return len(valid)
