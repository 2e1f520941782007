"""Words in more than one cut, so that a model learns to copy what it has never read.

A tokenizer gives each known word one token and writes an unknown one with pieces that stand
nowhere else: a model that rarely sees such pieces begins a new name correctly and ends it as one it
knows by heart. So some words of the training texts are encoded in two parts. It is what BPE-dropout
(Provilkov et al., 2020) is for; these cuts depend on the text alone, so the same corpus gives the
same tokens.
"""

from __future__ import annotations

import random
import re
import zlib

_WORD = re.compile(r"\w{2,}")


def pieces(text: str, share: float) -> list[str]:
    """The text in pieces, which are the text when they are joined: so many of its words, of two
    letters at least, are cut at a place inside."""
    if not share:
        return [text]
    draws = random.Random(zlib.crc32(text.encode(errors="replace")))
    cut: list[str] = []
    done = 0
    for word in _WORD.finditer(text):
        if draws.random() < share:
            place = draws.randrange(word.start() + 1, word.end())
            cut.append(text[done:place])
            done = place
    return [*cut, text[done:]]
