"""How a command on the server's own machine shows that it may look: it holds the site's key, with
which it could sign anybody in as well."""

from __future__ import annotations

from django.core import signing

_SCHEME = "Operator "
_SALT = "chat.operator_key"
MAX_AGE_S = 60


def header() -> str:
    """For `Authorization`; good for a minute."""
    return _SCHEME + signing.TimestampSigner(salt=_SALT).sign("operator")


def is_valid(authorization: str) -> bool:
    if not authorization.startswith(_SCHEME):
        return False
    try:
        signer = signing.TimestampSigner(salt=_SALT)
        signer.unsign(authorization.removeprefix(_SCHEME), max_age=MAX_AGE_S)
    except signing.BadSignature:
        return False
    return True
