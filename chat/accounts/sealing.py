"""Second factors as the database keeps them: encrypted, so that a copy of the database alone makes
no codes.

The key follows from SECRET_KEY, and old ones from SECRET_KEY_FALLBACKS, which Django has for the
same purpose. What was kept before it was encrypted is read as it is.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import transaction

MARK = "sealed:"
"""In front of what is encrypted: no secret of allauth's has a colon."""
PURPOSE = b"tinyllm second factors"


class SealUnreadable(Exception):
    """It was encrypted with a key that is neither SECRET_KEY nor among SECRET_KEY_FALLBACKS."""


def seal(text: str) -> str:
    return MARK + _keys().encrypt(text.encode()).decode()


def unseal(kept: str) -> str:
    """Raises SealUnreadable."""
    if not kept.startswith(MARK):
        return kept
    try:
        return _keys().decrypt(kept.removeprefix(MARK)).decode()
    except InvalidToken:
        raise SealUnreadable from None


def sealed(data: dict[str, Any], seal: Callable[[str], str] = seal) -> dict[str, Any]:
    """An authenticator's `data` with each of its secrets sealed."""
    secrets: dict[str, Any] = {
        name: seal(data[name]) for name in ("secret", "seed") if name in data
    }
    if data.get("migrated_codes") is not None:
        secrets["migrated_codes"] = [seal(code) for code in data["migrated_codes"]]
    return data | secrets


@transaction.atomic
def reseal() -> int:
    """Encrypt every second factor with the present key. Returns how many have secrets. Raises
    SealUnreadable; then all are as they were."""
    count = 0
    for row in Authenticator.objects.select_for_update():
        new = sealed(row.data, lambda kept: seal(unseal(kept)))
        if new != row.data:
            row.data = new
            row.save(update_fields=["data"])
            count += 1
    return count


def _keys() -> MultiFernet:
    return _derived((settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))


@lru_cache(maxsize=1)
def _derived(secrets: tuple[str, ...]) -> MultiFernet:
    """The first one encrypts, all decrypt."""
    keys = (HKDF(SHA256(), 32, salt=None, info=PURPOSE).derive(s.encode()) for s in secrets)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])
