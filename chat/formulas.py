"""LaTeX to MathML, or None: whoever asks then shows the source. Pure; no Django.

latex2mathml writes what it is given into the markup, and has no word for what it does not know. So
its tree is checked and written out here, escaped, and the sanitiser keeps only what is listed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from html import unescape
from itertools import accumulate
from unicodedata import category
from xml.etree.ElementTree import Element, tostring

from latex2mathml.converter import Converter

# A converter's time and stack are not bounded by anything else.
MAX_LENGTH = 2_000
MAX_DEPTH = 40

# fmt: off
TAGS = {
    "math", "menclose", "mfrac", "mi", "mn", "mo", "mover", "mpadded", "mphantom", "mroot", "mrow",
    "mspace", "msqrt", "mstyle", "msub", "msubsup", "msup", "mtable", "mtd", "mtext", "mtr",
    "munder", "munderover",
}
# No colours: black on a dark page, or white on a light one, would hide text.
_SIZES = {"width", "height", "depth", "lspace", "rspace", "voffset"}
ATTRIBUTES = {
    "math": {"display"}, "menclose": {"notation"}, "mfrac": {"linethickness"},
    "mi": {"mathvariant"}, "mn": {"mathvariant"}, "mtext": {"mathvariant"},
    "mo": {
        "fence", "form", "largeop", "lspace", "mathvariant", "maxsize", "minsize", "movablelimits",
        "rspace", "separator", "stretchy",
    },
    "mover": {"accent"}, "munder": {"accentunder"}, "mpadded": _SIZES, "mspace": _SIZES,
    "mstyle": {"displaystyle", "scriptlevel"}, "mtable": {"columnspacing", "displaystyle"},
    "mtd": {"columnalign"},
}
# Commands that change what others mean, and could grow a formula without end.
_DEFINITION = re.compile(
    r"\\(?:(?:re)?newcommand|[gex]?def|(?:re)?newenvironment|DeclareMathOperator)(?![a-zA-Z])"
)
# What the converter lays out -> also those that it does not, under the name of their layout.
_ENVIRONMENTS = {
    **{name: name for name in (
        "array", "cases", "matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix",
        "smallmatrix",
    )},
    **dict.fromkeys(("align", "align*", "aligned", "eqnarray", "eqnarray*", "split"), "align*"),
    **dict.fromkeys(("gather", "gather*", "gathered", "multline", "multline*"), "matrix"),
    "dcases": "cases",
}
# fmt: on
_PLAIN_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{(?:equation|displaymath|math)\*?\}")
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{([^{}]*)\}(?:\s*\[[tcb]\])?")
_LABEL = re.compile(r"\\label\s*\{[^{}]*\}")
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_PERCENT = re.compile(r"((?<!\\)(?:\\\\)*)%")
# Symbols that stand for themselves, and so have no space around them as + and = have.
_NO_OPERATORS = "∞∅|◻"
_CHILDREN = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2}
_CHILDREN |= {"msubsup": 3, "munderover": 3}


@lru_cache(maxsize=512)  # the last block of a running answer is rendered again and again
def to_mathml(latex: str, *, display: bool) -> str | None:
    """A <math> element, to be sanitised with TAGS and ATTRIBUTES. None: not LaTeX that we know."""
    if len(latex) > MAX_LENGTH or not _braces_match(latex) or _DEFINITION.search(latex):
        return None
    converter = Converter(display="block" if display else "inline")
    try:
        math = converter.convert_to_element(_laid_out(latex))
        _settle(math)
    except Exception:  # the converter fails in many ways (RecursionError, KeyError, its own)
        return None
    del math.attrib["xmlns"]
    return tostring(math, encoding="unicode", short_empty_elements=False)


def _braces_match(latex: str) -> bool:
    """Whether each brace has its partner, at most MAX_DEPTH deep."""
    braces = re.sub(r"[^{}]", "", _ESCAPED.sub("", latex))
    depths = list(accumulate((1 if brace == "{" else -1 for brace in braces), initial=0))
    return min(depths) == depths[-1] == 0 and max(depths) <= MAX_DEPTH


def _laid_out(latex: str) -> str:
    """The same formula in the words of the converter. ValueError: an environment unknown to us."""

    def known(match: re.Match[str]) -> str:
        if match[2] not in _ENVIRONMENTS:
            raise ValueError(f"unknown environment {match[2]}")
        return f"\\{match[1]}{{{_ENVIRONMENTS[match[2]]}}}"

    latex = _LABEL.sub("", _PLAIN_ENVIRONMENT.sub("", latex))
    latex = _PERCENT.sub(r"\1\\%", latex)  # a model that writes 50% means no comment
    if r"\begin" not in latex and r"\\" in latex:  # lines of their own
        return rf"\begin{{align*}}{latex}\end{{align*}}"
    return _ENVIRONMENT.sub(known, latex)


def _settle(element: Element, depth: int = 0) -> None:
    """Entities of the converter become characters, which are escaped when the tree is written.

    ValueError: something was not understood, or its parts are missing.
    """
    if depth > MAX_DEPTH or len(element) != _CHILDREN.get(element.tag, len(element)):
        raise ValueError(f"<{element.tag}> at depth {depth} with {len(element)} children")
    text = element.text or ""
    if element.tag == "mi" and re.fullmatch(r"\\[a-zA-Z]+|[&{}]", text):
        raise ValueError(f"{text} means nothing here")
    element.text = unescape(text)
    if element.tag == "mi" and text.startswith("&") and re.fullmatch("[a-zA-Z]", element.text):
        element.set("mathvariant", "normal")  # \mathrm{d}: upright, as a lone letter is not
    if element.tag in ("mi", "mo") and len(element.text) == 1 and category(element.text) == "Sm":
        element.tag = "mi" if element.text in _NO_OPERATORS else "mo"
    for child in element:
        _settle(child, depth + 1)
