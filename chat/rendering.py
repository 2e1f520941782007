"""Markdown of a model's answer to safe HTML, block by block, also while it is still arriving.

Pure: no Django, no settings. A block is one top-level markdown block (paragraph, list, code, ...).
Three walls stand between hostile text and the page: markdown-it escapes HTML, links go through
its scheme check, and nh3 keeps only the tags, attributes and classes listed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.parser_inline import ParserInline
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from chat import formulas
from chat.cjk import CjkState, soft_break
from chat.formula_marks import add_formulas
from chat.highlighting import CLASSES, highlight_code

# Parsing is not linear in the worst case: a longer paragraph is shown as it was written.
MAX_INLINE = 20_000
MAX_NESTING = 60  # counts a list and its items as two

_LINE_END = re.compile(r"\r\n?|\n")

# fmt: off
_TAGS = {
    "a", "blockquote", "br", "code", "div", "em", "figcaption", "figure", "h1", "h2", "h3", "h4",
    "h5", "h6", "hr", "li", "ol", "p", "pre", "s", "span", "strong", "table", "tbody", "td", "th",
    "thead", "tr", "ul",
}
# fmt: on
_SANITISER = nh3.Cleaner(
    tags=_TAGS | formulas.TAGS,
    attributes={"a": {"href", "title"}, "ol": {"start"}, **formulas.ATTRIBUTES},
    allowed_classes={
        "code": {"highlight"},
        "div": {"table"},
        "figure": {"code"},
        "span": {"formula", *CLASSES},
        "td": {"left", "center", "right"},
        "th": {"left", "center", "right"},
    },
    set_tag_attribute_values={"a": {"target": "_blank"}},
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
    link_rel="noopener noreferrer nofollow",
)


def render_blocks(text: str) -> list[str]:
    """Safe HTML of each top-level block of the markdown in `text`, in order."""
    return [block.html for block in _blocks(text)]


class StreamRenderer:
    """Renders an answer while it arrives: a block that is closed is never rendered again.

    A push costs as much as rendering the block that is still open. What later text can change in
    an earlier block (a link whose target is defined further down) is put right by `finish`.
    """

    def __init__(self) -> None:
        self._text: list[str] = []
        self._open = ""  # the text from the beginning of the last block on
        self._closed: list[str] = []
        self._shown: list[str] = []

    def push(self, text: str) -> tuple[int, list[str]]:
        """Add text. Returns (first, html): replace the blocks from index `first` on with html."""
        if not text:
            return len(self._closed) + len(self._shown), []
        self._text.append(text)
        self._open += text
        first = len(self._closed)
        blocks = list(_blocks(self._open))
        self._shown = [block.html for block in blocks]
        self._close_all_but_last(blocks)
        return first, [*self._closed[first:], *self._shown]

    def _close_all_but_last(self, blocks: list[_Block]) -> None:
        ends = [match.end() for match in _LINE_END.finditer(self._open)]
        # The last line may still turn into something else, so a block that it makes closes
        # nothing: "text\n#" is a heading until the next letter makes it "text\n#1".
        begins = [index for index, block in enumerate(blocks) if block.made_by < len(ends)]
        last = begins[-1] if begins else 0
        if last > 0:
            self._closed += self._shown[:last]
            self._shown = self._shown[last:]
            self._open = self._open[ends[blocks[last].line - 1] :]

    def finish(self) -> tuple[int, list[str]]:
        """Returns what `push` returns, after which the blocks are render_blocks(whole text)."""
        text = "".join(self._text)
        shown = [*self._closed, *self._shown]
        if "]:" not in text:  # no link has its target elsewhere: the blocks are what they will be
            return len(shown), []
        whole = render_blocks(text)
        same = zip(shown, whole, strict=False)
        first = next((i for i, (a, b) in enumerate(same) if a != b), min(len(shown), len(whole)))
        self._closed, self._shown = whole, []
        return first, whole[first:]


@dataclass(frozen=True, slots=True)
class _Block:
    """A top-level block. line: its first. made_by: the line without which there is none."""

    line: int
    made_by: int
    html: str


def _blocks(text: str) -> Iterator[_Block]:
    env: EnvType = {}
    tokens = _MARKDOWN.parse(text, env)
    starts = [i for i, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0]
    for start, end in pairwise([*starts, len(tokens)]):
        html = _MARKDOWN.renderer.render(tokens[start:end], _MARKDOWN.options, env)
        lines = tokens[start].map
        assert lines is not None  # every block token at level 0 has its lines
        # A table ends the paragraph before it by its second line, the one of dashes.
        made_by = lines[0] + (tokens[start].type == "table_open")
        yield _Block(lines[0], made_by, _SANITISER.clean(html).strip("\n"))


class _Inline(ParserInline):
    def parse(self, src: str, md: MarkdownIt, env: EnvType, tokens: list[Token]) -> list[Token]:
        if len(src) > MAX_INLINE:
            text = Token("text", "", 0)
            text.content = src
            tokens.append(text)
            return tokens
        state = CjkState(src, md, env, tokens)
        self.tokenize(state)
        for rule in self.ruler2.getRules(""):
            rule(state)
        return state.tokens


def _no_images(state: StateCore) -> None:
    """An image would call out to its host as soon as the answer is shown: make it a link."""
    for block in state.tokens:
        if block.children:
            block.children = list(_linked(block.children))


def _linked(tokens: list[Token]) -> Iterator[Token]:
    inside_link = 0
    for token in tokens:
        inside_link += token.nesting if token.type in ("link_open", "link_close") else 0
        if token.type != "image":
            yield token
            continue
        source = str(token.attrs["src"])
        text = Token("text", "", 0, content=token.content or source)
        if inside_link:
            yield text
        else:
            yield Token("link_open", "a", 1, attrs={"href": source})
            yield text
            yield Token("link_close", "a", -1)


def _class_for_alignment(state: StateCore) -> None:
    """Table cells say their alignment by class: a strict CSP refuses style attributes."""
    for token in state.tokens:
        if token.type in ("th_open", "td_open") and "style" in token.attrs:
            token.attrs = {"class": str(token.attrs["style"]).removeprefix("text-align:")}


def _code(
    _: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    token = tokens[index]
    language = token.info.split(maxsplit=1)[0] if token.info.strip() else ""
    caption = f"<figcaption>{escape(language)}</figcaption>" if language else ""
    body = highlight_code(token.content, language)
    return (
        f'<figure class="code">{caption}<pre><code class="highlight">{body}</code></pre></figure>'
    )


def _table_open(*_: Any) -> str:
    return '<div class="table"><table>'


def _table_close(*_: Any) -> str:
    return "</table></div>"


def _parser() -> MarkdownIt:
    md = MarkdownIt("commonmark")
    md.inline = _Inline()
    md.configure("commonmark", {"html": False, "maxNesting": MAX_NESTING})
    md.enable(["table", "strikethrough"])
    md.core.ruler.push("no_images", _no_images)
    md.core.ruler.push("class_for_alignment", _class_for_alignment)
    md.add_render_rule("fence", _code)
    md.add_render_rule("code_block", _code)
    md.add_render_rule("softbreak", soft_break)
    md.add_render_rule("table_open", _table_open)
    md.add_render_rule("table_close", _table_close)
    add_formulas(md)
    return md


_MARKDOWN = _parser()
