"""A content filter that hides how a story ends: what stands between two marks ||like this||."""

from __future__ import annotations

import re

from chat.filtering.kinds import Match

HIDDEN = "[spoiler]"
_SPOILER = re.compile(r"\|\|[^|\n]{1,200}\|\|")
_BEGUN = re.compile(r"\|(\|[^|\n]{0,200}\|?)?$")


class Spoilers:
    def find(self, text: str) -> list[Match]:
        return [Match(*found.span(), HIDDEN) for found in _SPOILER.finditer(text)]

    def undecided(self, text: str) -> int:
        whole = self.find(text)
        begun = _BEGUN.search(text, whole[-1].end if whole else 0)
        return len(text) - begun.start() if begun else 0
