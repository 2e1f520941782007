"""What a model writes becomes safe HTML, the same whole or in pieces."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat import formulas
from chat.rendering import StreamRenderer, render_blocks

# fmt: off
PIECES = st.sampled_from([
    "# ", "## ", "#", "- ", "* ", "1. ", "1)", "> ", "```", "```python", "~~~", "`", "**", "*",
    "__", "~~", "[", "]", "(", ")", "![", "](http://a.b)", "]: /u", "\t", "\n", "\n\n", "\r\n",
    "\r", "\0", "---", "===", "|", "| a | b |\n", "|--|--:|\n", "x", "word ", "def f(): ",
    "重点：", "正文", "“引”", "<b>", "</p>", "&amp;", "&lt;", "<script>", "javascript:",
    "http://e.com ", "😀", "é", "\\", "    code", "[x]: http://e.com\n", "\n    ", "\n  ",
    "$", "$$", "$$\n", "\\(", "\\)", "\\[\n", "\\]", "$x$", "x^2", "\\frac", "{", "}", "&", "\\\\",
])
# fmt: on
TEXT = st.lists(PIECES, max_size=30).map("".join)


def whole(text: str) -> str:
    return "\n".join(render_blocks(text))


def streamed(chunks: list[str]) -> StreamRenderer:
    renderer = StreamRenderer()
    for chunk in chunks:
        renderer.push(chunk)
    return renderer


def cut(text: str, places: list[int]) -> list[str]:
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in pairwise(edges)]


class Page:
    """A reader's copy of the blocks, changed only by what the renderer reports."""

    def __init__(self) -> None:
        self.blocks: list[str] = []

    def replace(self, change: tuple[int, list[str]]) -> None:
        first, html = change
        assert first <= len(self.blocks)
        self.blocks[first:] = html


# --- What it looks like ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain **bold** _it_", "<p>plain <strong>bold</strong> <em>it</em></p>"),
        ("~~gone~~", "<p><s>gone</s></p>"),
        ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
        ("3. a", '<ol start="3">\n<li>a</li>\n</ol>'),
        ("    x < y", '<figure class="code"><pre><code class="highlight">x &lt; y\n</code></pre>'),
        ("`a<b`", "<p><code>a&lt;b</code></p>"),
    ],
)
def test_markdown(text: str, html: str) -> None:
    assert whole(text).startswith(html)


def test_one_block_for_each_top_level_block() -> None:
    blocks = render_blocks("# T\n\npara\n\n- a\n\n  more\n- b\n\n> q\n\n---\n\n```\nx\n\ny\n```\n")
    assert [re.match(r"<(\w+)", block)[1] for block in blocks] == [  # type: ignore[index]
        "h1", "p", "ul", "blockquote", "hr", "figure"
    ]  # fmt: skip


def test_table_alignment_is_a_class_because_a_strict_policy_refuses_style() -> None:
    html = whole("| a | b |\n|---|--:|\n| 1 | 2 |")
    assert '<div class="table"><table>' in html
    assert '<td class="right">2</td>' in html
    assert "style" not in html


def test_code_is_highlighted_by_class_and_keeps_every_character() -> None:
    code = '\n\ndef f(x):\n    return "<é>" & 1  # 注\n\n'
    html = whole(f"```python\n{code}```")
    assert "<figcaption>python</figcaption>" in html
    assert '<span class="k">def</span>' in html
    assert text_of(html).removeprefix("python") == code


def test_code_in_an_unknown_language_is_shown_plain() -> None:
    assert '<code class="highlight">x = 1\n</code>' in whole("```no-such\nx = 1\n```")


# --- What it must never do ------------------------------------------------------------------

ALLOWED = {
    "a": {"href", "title", "target", "rel"}, "blockquote": set(), "br": set(), "code": {"class"},
    "div": {"class"}, "em": set(), "figcaption": set(), "figure": {"class"},
    "h1": set(), "h2": set(), "h3": set(), "h4": set(), "h5": set(), "h6": set(), "hr": set(),
    "li": set(), "ol": {"start"}, "p": set(), "pre": set(), "s": set(),
    "span": {"class"}, "strong": set(),
    "table": set(), "tbody": set(), "td": {"class"}, "th": {"class"}, "thead": set(),
    "tr": set(), "ul": set(),
    **{tag: formulas.ATTRIBUTES.get(tag, set()) for tag in formulas.TAGS},
}  # fmt: skip


class Inspector(HTMLParser):
    """Reads HTML as a browser would and refuses what is not on the list above."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.links: list[dict[str, str | None]] = []
        self.roots = 0
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED, tag
        assert {name for name, _ in attrs} <= ALLOWED[tag], (tag, attrs)
        self.roots += self._depth == 0
        self._depth += tag not in ("br", "hr")
        if tag == "a":
            self.links.append(dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        self._depth -= 1

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def inspect(html: str) -> Inspector:
    inspector = Inspector()
    inspector.feed(html)
    inspector.close()
    for link in inspector.links:
        assert re.match(r"(https?|mailto):", link.get("href") or "https:", re.IGNORECASE), link
        assert link["rel"] == "noopener noreferrer nofollow"
        assert link["target"] == "_blank"
    return inspector


def text_of(html: str) -> str:
    return inspect(html).text


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<!-- hidden -->",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "[x](vbscript:x)",
        "<javascript:alert(1)>",
        '[x](http://e.com "\\" onmouseover=alert(1) x=\\"")',
        '```"><script>alert(1)</script>\nx\n```',
        "```python\n</code></pre><script>alert(1)</script>\n```",
        "| <script> |\n|---|\n| <b onclick=x> |",
        "[a]: javascript:alert(1)\n\n[a]",
        "&lt;script&gt;&#x6a;avascript:",
        "[x](/relative) [y](//host/path)",
    ],
)
def test_hostile_text_becomes_text(text: str) -> None:
    assert inspect(whole(text)).text


@settings(max_examples=150, deadline=None)
@given(TEXT)
def test_only_listed_tags_and_links_come_out(text: str) -> None:
    inspect(whole(text))


@settings(max_examples=150, deadline=None)
@given(TEXT)
def test_each_block_is_one_element(text: str) -> None:
    """The page replaces its n-th child when the n-th block changes."""
    for block in render_blocks(text):
        assert inspect(block).roots == 1


@pytest.mark.parametrize(
    ("text", "href", "shown"),
    [
        ("![a cat](https://e.com/cat.png)", "https://e.com/cat.png", "a cat"),
        ("![](https://e.com/cat.png)", "https://e.com/cat.png", "https://e.com/cat.png"),
        ("[![alt](https://e.com/i.png)](https://e.com/)", "https://e.com/", "alt"),
    ],
)
def test_an_image_is_a_link_because_loading_it_would_call_out(
    text: str, href: str, shown: str
) -> None:
    html = whole(text)
    inspector = inspect(html)
    assert "<img" not in html
    assert [link["href"] for link in inspector.links] == [href]
    assert inspector.text == shown


@pytest.mark.parametrize(
    "text",
    [
        ">" * 10_000,
        "> " * 10_000 + "x",
        "[" * 10_000 + "]" * 10_000,
        "[a](" * 10_000,
        "*a **b " * 10_000,
        "- " * 10_000 + "x",
        "word " * 200_000,
        "```python\n" + "x = [1]  # c\n" * 80_000,
        "`" * 1_000_000,
        "\0" * 1_000_000,
    ],
)
def test_extreme_text_neither_fails_nor_escapes(text: str) -> None:
    """Quadratic or recursive parsing would meet the suite's time limit or RecursionError here."""
    inspect(whole(text))


# --- In pieces ------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(TEXT, st.lists(st.integers(0, 1000), max_size=12))
def test_any_chunking_finishes_as_the_whole(text: str, places: list[int]) -> None:
    renderer, page = StreamRenderer(), Page()
    for chunk in cut(text, places):
        page.replace(renderer.push(chunk))
    page.replace(renderer.finish())
    assert page.blocks == render_blocks(text)


def test_a_table_that_comes_to_nothing_leaves_the_paragraph_before_it_whole() -> None:
    """Two dashes make it a table of two columns, a third takes that back."""
    text, page, renderer = "words\n| a | b |\n---|--|--:|", Page(), StreamRenderer()
    for end in range(len(text)):
        page.replace(renderer.push(text[end]))
        assert page.blocks == render_blocks(text[: end + 1])


@settings(max_examples=300, deadline=None)
@given(TEXT.filter(lambda text: "]:" not in text), st.lists(st.integers(0, 1000), max_size=12))
def test_every_moment_shows_what_the_text_so_far_renders_to(text: str, places: list[int]) -> None:
    """Apart from link definitions, which reach back, a stream is never behind or wrong."""
    renderer, page, so_far = StreamRenderer(), Page(), ""
    for chunk in cut(text, places):
        so_far += chunk
        page.replace(renderer.push(chunk))
        assert page.blocks == render_blocks(so_far)
    assert renderer.finish() == (len(page.blocks), [])


def test_only_the_open_block_is_sent_again() -> None:
    renderer = streamed(["first\n\nsecond\n\n", "third\n"])
    assert renderer.push("and more") == (2, ["<p>third\nand more</p>"])


def test_open_fence_is_code_already() -> None:
    renderer = StreamRenderer()
    first, html = renderer.push("Look:\n\n```python\ndef f(")
    assert (first, html[0]) == (0, "<p>Look:</p>")
    assert html[1].startswith('<figure class="code"><figcaption>python</figcaption>')
    assert '<span class="k">def</span>' in html[1]


def test_a_definition_further_down_is_put_right_at_the_end() -> None:
    renderer, page = StreamRenderer(), Page()
    page.replace(renderer.push("See [it].\n\nNext.\n\n"))
    page.replace(renderer.push("[it]: https://e.com\n"))
    assert "<a" not in page.blocks[0]
    page.replace(renderer.finish())
    assert 'href="https://e.com"' in page.blocks[0]


def test_an_empty_push_changes_nothing() -> None:
    renderer = streamed(["a\n\nb"])
    assert renderer.push("") == (2, [])
