"""Why a token or a one-time link was not accepted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.utils.translation import gettext as _

from chat.errors import ChatError


class TokenUnknown(ChatError):
    """There is no such token, or its owner may no longer sign in."""

    code = "token_unknown"
    status = 401

    def __init__(self) -> None:
        super().__init__(_("This API token is unknown. Check that it was copied whole."))


class TokenExpired(ChatError):
    """Fields: token, by how it begins, and expired_at."""

    code = "token_expired"
    status = 401

    def __init__(self, token: str, expired_at: datetime) -> None:
        told = expired_at.isoformat(timespec="seconds")
        super().__init__(
            _("The API token %(token)s… expired on %(expired_at)s. Make a new one.")
            % {"token": token, "expired_at": told},
            token=token,
            expired_at=told,
        )


class TokenRevoked(ChatError):
    """Fields: token, by how it begins."""

    code = "token_revoked"
    status = 401

    def __init__(self, token: str) -> None:
        super().__init__(
            _("The API token %(token)s… was revoked. Make a new one.") % {"token": token},
            token=token,
        )


class TokenScopeMissing(ChatError):
    """Fields: token, by how it begins, the scope that is needed, and the scopes that it has."""

    code = "token_scope_missing"
    status = 403

    def __init__(self, token: str, scope: str, has: Sequence[str]) -> None:
        super().__init__(
            _("This needs the scope %(scope)s. The API token %(token)s… has: %(has)s.")
            % {"scope": scope, "token": token, "has": ", ".join(has) or "-"},
            token=token,
            scope=scope,
            has=list(has),
        )


class StaffOnly(ChatError):
    """What only staff may see, asked by somebody else."""

    code = "permission_denied"
    status = 403

    def __init__(self) -> None:
        super().__init__(_("Only staff may do this."))


class CsrfFailed(ChatError):
    """A request with a cookie did not come from a page of ours."""

    code = "permission_denied"
    status = 403

    def __init__(self) -> None:
        super().__init__(_("The CSRF token is missing or wrong."))


class LinkInvalid(ChatError):
    code = "link_invalid"
    status = 404

    def __init__(self) -> None:
        super().__init__(_("This link is unknown, was used already, or has expired."))
