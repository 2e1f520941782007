"""Mail addresses, telephone numbers, identity cards and bank cards, replaced by what they are.

Numbers are told apart by their checks: a bank card by Luhn's, a Chinese identity card by the one of
GB 11643. A telephone number is one of mainland China, or one that begins with + and a country.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from django.utils.translation import gettext

from chat.filtering.kinds import Match

_GAP = r"[ -]?"
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS = "10X98765432"
LONGEST = 80
"""Characters of a match, at most: a longer run of such characters is not held back."""


def _alone(pattern: str) -> re.Pattern[str]:
    """Chinese characters are letters to \\w, and a number may stand right beside one."""
    letters = r"[A-Za-z0-9_]"
    return re.compile(rf"(?<!{letters})(?<!\+){pattern}(?!{letters})", re.ASCII)


def luhn(digits: str) -> bool:
    """Whether the last digit is the one that ISO/IEC 7812 asks for."""
    doubled = [int(d) * (1 + place % 2) for place, d in enumerate(reversed(digits))]
    return sum(n // 10 + n % 10 for n in doubled) % 10 == 0


def is_identity_card(text: str) -> bool:
    total = sum(int(digit) * weight for digit, weight in zip(text[:17], _WEIGHTS, strict=True))
    return _CHECKS[total % 11] == text[17].upper()


def _is_bank_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and luhn(digits)


def _anything(text: str) -> bool:
    return True


_KINDS: list[tuple[str, re.Pattern[str], Callable[[str], bool]]] = [
    (
        "mail",
        _alone(r"[A-Za-z0-9._%+-]{1,40}@[A-Za-z0-9-]{1,30}(?:\.[A-Za-z0-9-]{2,20}){1,3}"),
        _anything,
    ),
    ("identity card", _alone(r"[1-9]\d{5}(?:19|20)\d{9}[\dXx]"), is_identity_card),
    ("bank card", _alone(rf"\d(?:{_GAP}\d){{12,18}}"), _is_bank_card),
    ("telephone", _alone(rf"1[3-9]\d{_GAP}\d{{4}}{_GAP}\d{{4}}"), _anything),
    ("telephone", re.compile(rf"\+[1-9](?:{_GAP}\d){{6,13}}(?!\d)", re.ASCII), _anything),
]
_TAIL = re.compile(r"[A-Za-z0-9._%+@-](?:[A-Za-z0-9._%+@-]|(?<=\d) (?=\d|$))*$", re.ASCII)


def _name(kind: str) -> str:
    return {
        "mail": gettext("[mail address]"),
        "identity card": gettext("[identity card]"),
        "bank card": gettext("[bank card]"),
        "telephone": gettext("[telephone number]"),
    }[kind]


class PersonalData:
    """Every match has a replacement, in the reader's language."""

    def find(self, text: str) -> list[Match]:
        found: list[Match] = []
        for kind, pattern, is_one in _KINDS:
            for match in pattern.finditer(text):
                taken = any(m.start < match.end() and match.start() < m.end for m in found)
                if not taken and is_one(match.group()):
                    found.append(Match(*match.span(), _name(kind)))
        return sorted(found, key=lambda match: match.start)

    def undecided(self, text: str) -> int:
        """A run of characters that such things are made of. A longer one is none of them."""
        match = _TAIL.search(text[-LONGEST - 1 :])
        length = len(match.group()) if match else 0
        return length if length <= LONGEST else 0
