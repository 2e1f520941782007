"""What a good story is, as numbers. The filters of the corpus and the evaluation of models use
these same definitions. A text is a list of units: words of a language with spaces, characters of
Chinese; marks of punctuation are units too."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

_UNIT = re.compile(r"[\u4e00-\u9fff]|[A-Za-z]+(?:['’-][A-Za-z]+)*|\d+|[^\w\s]")
# Words that have a capital at the beginning of a sentence and are no names.
_CAPITAL = re.compile(r"\b[A-Z][a-z]+\b")
_SENTENCE = re.compile(r"[^.!?。！？]+[.!?。！？]+[\"”’')]*\s*|[^.!?。！？]+$")
_LAST_MARK = re.compile(r"[.!?。！？…][\"”’')]*$")
_TITLES = frozenset(["mr", "mrs", "ms", "miss", "dr", "old", "aunt", "uncle"])
_NO_NAME = re.compile(
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?|january|christmas|easter|"
    r"but|what|is|he|she|it|they|there|now|after|behind|then|and|three|nothing|nobody|who|hic"
)


def units(text: str) -> list[str]:
    """In lower case, so that a word is the same wherever it stands."""
    return _UNIT.findall(text.lower())


def ngrams(items: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return (tuple(items[i : i + n]) for i in range(len(items) - n + 1))


def repeated(text: str, n: int = 4) -> float:
    """The share of a text's n-grams that the same text has had before: 0 where nothing is said
    twice, near 1 for a loop."""
    grams = list(ngrams(units(text), n))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct(texts: Iterable[str], n: int) -> float:
    """Different n-grams for each n-gram of all texts together. Falls as texts are added: compare
    equally many."""
    seen: set[tuple[str, ...]] = set()
    count = 0
    for text in texts:
        for gram in ngrams(units(text), n):
            seen.add(gram)
            count += 1
    return len(seen) / count if count else 0.0


class Known:
    """The n-grams of a corpus, to ask which of a text's are in it word for word. Eight bytes for
    each, and a chance of one in a billion that a new one is taken for one of them."""

    def __init__(self, texts: Iterable[str], n: int = 8) -> None:
        self.n = n
        self._seen = {_code(gram) for text in texts for gram in ngrams(units(text), n)}

    def share(self, text: str) -> float:
        """Of the text's n-grams; 0 for a text that is shorter than one."""
        grams = list(ngrams(units(text), self.n))
        return sum(_code(gram) in self._seen for gram in grams) / len(grams) if grams else 0.0


def _code(gram: Sequence[str]) -> int:
    return int.from_bytes(hashlib.blake2b(" ".join(gram).encode(), digest_size=8).digest())


def sentences(text: str) -> list[str]:
    return [found.strip() for found in _SENTENCE.findall(text) if found.strip()]


def names(text: str) -> Counter[str]:
    """How often each name is in an English text. A name is a word with a capital that stands
    somewhere inside a sentence, or begins one at least three times and is never written small."""
    small = set(re.findall(r"[a-z]+", text))
    inside: Counter[str] = Counter()
    first: Counter[str] = Counter()
    for sentence in sentences(text):
        for found in _CAPITAL.finditer(sentence):
            begins = not re.search(r"\w", sentence[: found.start()])
            quoted = sentence[: found.start()].endswith(('"', "“", "'", "‘"))
            (first if begins or quoted else inside)[found[0]] += 1
    known = {
        word
        for word, count in (inside + first).items()
        if word.lower() not in small
        and word.lower() not in _TITLES
        and not _NO_NAME.fullmatch(word.lower())
        and word != "I"
        and (inside[word] or first[word] >= 3)
    }
    return Counter({word: (inside + first)[word] for word in known})


def keeps_characters(text: str) -> bool:
    """Whether a story stays with those it began with: one of the names of its first third is in
    its last third, and no name that comes up later is there more often than each of those. A story
    without names in its first third keeps the characters that it has if none comes up later."""
    third = len(text) // 3
    counts = names(text)
    begin = {name for name in counts if _has(text[: third + 1], name)}
    end = text[-third:]
    late = {name for name in counts if name not in begin}
    if not begin:
        return not late
    strongest = max(counts[name] for name in begin)
    return any(_has(end, name) for name in begin) and all(
        counts[name] <= strongest for name in late
    )


def _has(text: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text) is not None


def ends(text: str) -> bool:
    """Whether a text ends where a sentence does, and its quotation marks are closed."""
    text = text.rstrip()
    closed = text.count('"') % 2 == 0 and text.count("“") == text.count("”")
    return closed and _LAST_MARK.search(text) is not None
