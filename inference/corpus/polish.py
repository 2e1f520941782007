"""What a phrase cannot know of its neighbours: a or an, capitals, spaces."""

from __future__ import annotations

import re

_START = re.compile(r"(?:^|[.!?…] |\n)([a-z])", re.MULTILINE)
_A = re.compile(r"\b([Aa])n? (?=(\w+))")
_AN_WORDS = re.compile(r"(?:hour|honest|heir)", re.IGNORECASE)
_A_WORDS = re.compile(r"(?:uni(?!n)|use|usu|eu|ewe|one\b|once\b|ukulele)", re.IGNORECASE)
_COMMAS = re.compile(r"，+([，。！？])")
_AFTER_QUOTE = re.compile(r"([。！？…]”)[。，]")
_SPACES = re.compile(r" {2,}")
_BEFORE_MARK = re.compile(r"[ ,]+([,.!?;:])")
_QUOTE_MARK = re.compile(r'([.!?])"[.,]|"([.,])')


def english(text: str) -> str:
    """A sentence begins after a full stop and a space; after a closing quotation mark a tag may
    follow, so there only what the phrase says counts."""
    text = _BEFORE_MARK.sub(r"\1", _SPACES.sub(" ", text)).strip()
    text = _QUOTE_MARK.sub(lambda match: (match[1] or match[2]) + '"', text)
    return _START.sub(lambda match: match[0].upper(), _article(text))


def _article(text: str) -> str:
    def right(match: re.Match[str]) -> str:
        word = match[2]
        vowel = word[0] in "aeiouAEIOU" and not _A_WORDS.match(word)
        return f"{match[1]}n " if vowel or _AN_WORDS.match(word) else f"{match[1]} "

    return _A.sub(right, text)


def chinese(text: str) -> str:
    """Chinese has no spaces; after a name that ended with a comma, or a speech that ended with its
    own mark, another mark may follow."""
    return _AFTER_QUOTE.sub(r"\1", _COMMAS.sub(r"\1", re.sub(r"[ \t]+", "", text)))


POLISH = {"en": english, "zh": chinese}
