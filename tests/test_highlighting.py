"""The colours of code: the stylesheet is current, and each colour can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pygments.token import _TokenType

from chat.highlighting import PALETTE, stylesheet

STATIC = Path(__file__).parent.parent / "static/chat"


def test_the_stylesheet_is_up_to_date() -> None:
    assert (STATIC / "highlight.css").read_text() == stylesheet(), (
        "see the first lines of chat/highlighting.py"
    )


@pytest.mark.parametrize("kind", PALETTE, ids=str)
def test_code_colours_can_be_read(kind: _TokenType) -> None:
    grounds = re.search(r"--code: light-dark\((#\w+), (#\w+)\)", (STATIC / "base.css").read_text())
    assert grounds
    for colour, ground in zip(PALETTE[kind], grounds.groups(), strict=True):
        assert contrast(colour, ground) >= 4.5


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio of two #rrggbb colours."""
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
