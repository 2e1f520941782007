"""Links that show a conversation to whoever has them: made, listed, revoked, looked up."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.errors import ChatError, InvalidRequest, check_unicode
from chat.models import ShareLink
from chat.selectors import conversation

MAX_DAYS = 365
MAX_AUTHOR = 100


class ShareLinkNotFound(ChatError):
    """Also said of another person's link."""

    code = "share_link_not_found"
    status = 404

    def __init__(self, link_id: object) -> None:
        super().__init__(_("There is no link %(id)s.") % {"id": link_id}, link_id=str(link_id))


@transaction.atomic
def share_link_create(
    *, owner_id: uuid.UUID, session_id: uuid.UUID, kind: str, days: int | None, author: str
) -> tuple[ShareLink, str]:
    """A link to the branch that is shown, without an answer that is being written, and its token,
    which nobody can be told again. days: None for no end.

    Raises SessionNotFound, InvalidRequest.
    """
    _check(days, author)
    ShareLink.objects.filter(expires_at__lte=timezone.now()).delete()
    found = conversation(owner_id=owner_id, session_id=session_id)
    said = [{"role": each.role, "text": each.content} for each in found.messages]
    if not said:
        raise InvalidRequest(_("There is nothing to share yet."))
    token = secrets.token_urlsafe(32)
    link = ShareLink.objects.create(
        owner_id=owner_id,
        session_id=session_id,
        digest=_digest(token),
        title=found.session.title,
        author=" ".join(author.split()),
        kind=kind,
        messages=said,
        expires_at=timezone.now() + timedelta(days=days) if days else None,
    )
    return link, token


def share_links_of(*, owner_id: uuid.UUID) -> QuerySet[ShareLink]:
    """Those that work, newest first, without what they show."""
    return _working().filter(owner_id=owner_id).defer("messages")


def share_link_revoke(*, owner_id: uuid.UUID, link_id: uuid.UUID) -> None:
    """What it showed goes with it. Raises ShareLinkNotFound."""
    deleted, _rows = ShareLink.objects.filter(id=link_id, owner_id=owner_id).delete()
    if not deleted:
        raise ShareLinkNotFound(link_id)


def share_link_of_token(*, token: str) -> ShareLink | None:
    """None: there never was one, it has ended, was revoked, or its session is deleted."""
    return _working().filter(digest=_digest(token)).first()


def _working() -> QuerySet[ShareLink]:
    in_time = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    return ShareLink.objects.filter(in_time, session__deleted_at=None)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _check(days: int | None, author: str) -> None:
    if days is not None and not 1 <= days <= MAX_DAYS:
        raise InvalidRequest(
            _("days must be from 1 to %(most)d, not %(days)d.") % {"most": MAX_DAYS, "days": days},
            param="days",
        )
    check_unicode("author", author)
    if len(author) > MAX_AUTHOR:
        raise InvalidRequest(
            _("A name has at most %(most)d characters, not %(length)d.")
            % {"most": MAX_AUTHOR, "length": len(author)},
            param="author",
        )
