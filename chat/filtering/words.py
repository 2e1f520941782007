"""Words that may not be said, in Chinese and English.

The lists that come along (`words/`) are short and of plain abuse: a beginning, not a judgement. A
site adds its own with TINYLLM_FILTER_WORDS, a text file with a word or phrase on each line; `#`
begins a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from chat.filtering.kinds import Match

_OURS = Path(__file__).parent / "words"


class WordList:
    """Case does not matter. A word of letters matches whole words only; one that begins or ends
    with a Chinese character matches wherever it stands, since nothing divides words there."""

    def __init__(self, words: Iterable[str]) -> None:
        known = sorted({word.lower() for word in words}, key=lambda word: (-len(word), word))
        self._pattern = re.compile("|".join(map(_bounded, known)) or r"(?!)", re.IGNORECASE)
        self._beginnings = {word[:n] for word in known for n in range(1, len(word) + 1)}
        self._longest = max(map(len, known), default=0)

    @classmethod
    def configured(cls) -> WordList:
        """Those that come along, and the site's. Raises ImproperlyConfigured."""
        more = settings.TINYLLM_FILTER_WORDS
        files = sorted(_OURS.glob("*.txt")) + ([Path(more)] if more else [])
        return cls(word for path in files for word in read_words(path))

    def find(self, text: str) -> list[Match]:
        return [Match(*match.span(), None) for match in self._pattern.finditer(text)]

    def undecided(self, text: str) -> int:
        """A whole word counts too: the next character may be a letter, and then it is another."""
        tail = text[-self._longest :].lower() if self._longest else ""
        lengths = range(len(tail), 0, -1)
        return next((n for n in lengths if tail[-n:] in self._beginnings), 0)


def read_words(path: Path) -> list[str]:
    """Raises ImproperlyConfigured."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"The word list {path} cannot be read: {error}") from error
    return [word for line in lines if (word := line.partition("#")[0].strip())]


def _bounded(word: str) -> str:
    """re's \\b takes Chinese characters for letters, and there a word stands among others."""
    before = r"(?<![A-Za-z0-9])" if word[0].isascii() and word[0].isalnum() else ""
    after = r"(?![A-Za-z0-9])" if word[-1].isascii() and word[-1].isalnum() else ""
    return before + re.escape(word) + after
