"""Where a formula stands in markdown: `$…$`, `\\(…\\)` in a line, `$$…$$`, `\\[…\\]` on its own.

`$5 and $10` is money. As in Pandoc, the text between dollars begins and ends without a space, and
no digit follows. A backtick ends the search, so nothing in code is ever a formula.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from chat.formulas import to_mathml

# A formula ends at the next mark, or there is none: each mark is looked at once.
_FORMULA = re.compile(
    r"""
    \$\$ (?P<dollars> (?: [^$`\\] | \\. )++ ) \$\$
    | \$ (?!\s) (?P<dollar> (?: [^$`\\] | \\. )++ ) (?<!\s) \$ (?!\d)
    | \\\[ (?P<bracket> (?: [^`\\] | \\[^()\[\]] )++ ) \\\]
    | \\\( (?P<paren> (?: [^`\\] | \\[^()\[\]] )++ ) \\\)
    """,
    re.VERBOSE | re.DOTALL,
)
_DISPLAY = ("dollars", "bracket")
_CLOSERS = {"$$": "$$", "\\[": "\\]"}


def add_formulas(markdown: MarkdownIt) -> None:
    # Before `escape`, for which \( is a parenthesis.
    markdown.inline.ruler.before("escape", "formula", _formula)
    ends = ["paragraph", "reference", "blockquote", "list"]
    markdown.block.ruler.before("fence", "formula_lines", _formula_lines, {"alt": ends})
    markdown.add_render_rule("formula", _render)


def _formula(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "$\\":
        return False
    match = _FORMULA.match(state.src, state.pos, state.posMax)
    if match is None:
        return False
    if not silent:
        token = state.push("formula", "math", 0)
        token.markup, token.content = match[0], match[match.lastgroup or 0]
        token.meta = {"display": match.lastgroup in _DISPLAY}
    state.pos = match.end()
    return True


def _formula_lines(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A formula's lines are one paragraph, also those that look like a list or a quote.

    So are the lines of one that is not closed yet, or else what follows in a stream could change
    blocks that are closed. An empty line ends the wait, as in TeX.
    """
    opener = _opener(_line(state, start))
    if opener is None or state.is_code_block(start):
        return False
    if silent:
        return True
    last = start + 1
    while last < end:
        line = _line(state, last)
        last += 1
        if _CLOSERS[opener] in line:
            break
        empty = not line and state.eMarks[last - 1] < len(state.src)
        left = state.sCount[last - 1] < state.blkIndent
        if empty or left or "`" in line or _opener(line):
            return False
    state.line = last
    state.push("paragraph_open", "p", 1).map = [start, last]
    inline = state.push("inline", "", 0)
    inline.content = state.getLines(start, last, state.blkIndent, False).strip()
    inline.map, inline.children = [start, last], []
    state.push("paragraph_close", "p", -1)
    return True


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].rstrip()


def _opener(line: str) -> str | None:
    """The mark with which a formula of several lines begins in this one."""
    mark, rest = line[:2], line[2:]
    return mark if mark in _CLOSERS and _CLOSERS[mark] not in rest and "`" not in rest else None


def _render(
    _: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    token = tokens[index]
    display = bool(token.meta["display"])
    html = to_mathml(token.content, display=display)
    if html is None:
        return escape(token.markup)
    return f'<span class="formula">{html}</span>' if display else html
