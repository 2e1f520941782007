"""Random words that open something, and what is kept of them."""

from __future__ import annotations

import hashlib
import secrets

BITS = 256


def fresh() -> str:
    """43 characters that are safe in an address."""
    return secrets.token_urlsafe(BITS // 8)


def digest(secret: str) -> str:
    """No salt and no slow hash: nobody guesses 256 random bits, and each use looks one up."""
    return hashlib.sha256(secret.encode()).hexdigest()
