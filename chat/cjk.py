"""Markdown between characters that are written without spaces: Chinese, Japanese, Korean.

CommonMark finds words by the spaces and punctuation around them, and has a space for every line
end. Both are right only where words are written apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Scanned
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

_HANGUL = "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"
# Kana, bopomofo, ideographs and their radicals, and the full-width and half-width forms.
_UNSPACED = (
    "\u2e80-\u312f\u3190-\u4dbf\u4e00-\u9fff\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff00-\uffef"
    "\U0001aff0-\U0001b16f\U0001f200-\U0001f2ff\U00020000-\U0003fffd"
)
_VARIANT = "[\ufe00-\ufe0f\U000e0100-\U000e01ef]"  # of the ideograph before it
# Marks that Chinese shares with other scripts go with the character beside them.
_SHARED = "“”‘’…—·"


def _edges(characters: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What a text ends with, and what it begins with, if that is one of these."""
    return (
        re.compile(f"[{characters}]{_VARIANT}?[{_SHARED}]*\\Z"),
        re.compile(f"[{_SHARED}]*[{characters}]"),
    )


_CJK_BEFORE, _CJK_AFTER = _edges(_HANGUL + _UNSPACED)
_UNSPACED_BEFORE, _UNSPACED_AFTER = _edges(_UNSPACED)
_NEAR = 8  # not all of a long text is searched for what stands at its end


class CjkState(StateInline):
    """`**重点：**正文` is bold: beside a CJK character the marks need only touch their text."""

    def scanDelims(self, start: int, canSplitWord: bool) -> Scanned:  # noqa: N802, N803
        scanned = super().scanDelims(start, canSplitWord)
        end = start + scanned.length
        before = self.src[max(0, start - _NEAR) : start] or " "
        after = self.src[end] if end < self.posMax else " "
        near_cjk = _CJK_BEFORE.search(before) or _CJK_AFTER.match(self.src, end, self.posMax)
        if not canSplitWord or not near_cjk:
            return scanned
        return Scanned(not after.isspace(), not before[-1].isspace(), scanned.length)


def soft_break(
    _: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    """A line break in the source is a space, but not between two characters that need none.

    Korean has spaces between its words.
    """
    before, after = _text_beside(tokens, index, -1), _text_beside(tokens, index, 1)
    joined = _UNSPACED_BEFORE.search(before[-_NEAR:]) and _UNSPACED_AFTER.match(after)
    return "" if joined else "\n"


def _text_beside(tokens: Sequence[Token], index: int, step: int) -> str:
    """Of the nearest token that has any: the marks of bold text and links have none."""
    index += step
    while 0 <= index < len(tokens):
        if tokens[index].content:
            return tokens[index].content
        index += step
    return ""
