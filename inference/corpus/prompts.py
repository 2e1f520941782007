"""What a model is asked to write, and how its text is cleaned."""

from __future__ import annotations

import re
from functools import cache

from inference.corpus import grammar
from inference.corpus.draws import Draws
from inference.corpus.tables import DATA

_ORDERS = (
    "Write a short story for children about {who}. In the story, {what}.",
    "Write a short story about {who}. It tells how {what}.",
    "Tell me a simple bedtime story about {who}, in which {what}. Use short sentences.",
    "Please write a short children's story with a beginning, a middle and an end. It is about "
    "{who}: {what}.",
)
_PLAIN = str.maketrans("‘’“”–—", "''\"\"--")
_TITLE = re.compile(r"\A(?:\*\*.*\*\*|#.*|Title:.*|[^.!?\"\n]{3,60})\n+")


@cache
def _openings() -> list[str]:
    return (DATA / "en" / "story_openings.txt").read_text("utf-8").splitlines()


def opening(seed: int, index: int) -> str:
    """How story `index` of a model that continues texts begins: as the grammar's stories do, or
    from a list."""
    draws = Draws("opening", seed, index)
    return draws.pick(_openings()) if draws.chance(0.5) else grammar.opening("en", draws)


def order(seed: int, index: int) -> str:
    """What a model that follows orders is told to write."""
    draws = Draws("order", seed, index)
    who, what = grammar.subject("en", draws)
    return draws.pick(_ORDERS).format(who=who, what=what)


def tidy(text: str) -> str:
    """Plain quotation marks and dashes, no title, no spaces around."""
    text = re.sub(r"[ \t]+", " ", text.translate(_PLAIN)).strip()
    return re.sub(r" *\n\s*", "\n\n", _TITLE.sub("", text))
