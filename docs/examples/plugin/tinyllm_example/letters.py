"""A tool for what models are bad at, since they read tokens and no letters."""

from __future__ import annotations

from typing import Any, ClassVar


class Letters:
    description = "Count how often a letter is in a word."
    parameters: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "word": {"type": "string", "maxLength": 40},
            "letter": {"type": "string", "minLength": 1, "maxLength": 1},
        },
        "required": ["word", "letter"],
        "additionalProperties": False,
    }

    def __call__(self, *, word: str, letter: str) -> str:
        found = word.lower().count(letter.lower())
        return f"{letter!r} is {found} times in {word!r}."
