"""LaTeX in an answer becomes MathML; money, code and what is no LaTeX stay as they are written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.formulas import MAX_DEPTH, MAX_LENGTH, to_mathml
from chat.rendering import StreamRenderer, render_blocks
from tests.test_rendering import inspect, text_of, whole


def shapes(html: str) -> list[str]:
    """`<msup>` and so on, in the order in which they open; rows say nothing."""
    return [tag for tag in re.findall(r"<(m\w+)", html) if tag != "mrow"]


# --- Where a formula begins and ends --------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "display"),
    [
        ("$x$", "inline"),
        ("\\(x\\)", "inline"),
        ("$$x$$", "block"),
        ("\\[x\\]", "block"),
        ("$$\nx\n$$", "block"),
        ("\\[\nx\n\\]", "block"),
        ("$$ x\n$$", "block"),
        ("速度$x$是", "inline"),
        ("（$x$）。", "inline"),
        ("**$x$**", "inline"),
        ("| $x$ |\n|---|", "inline"),
        ("# $x$", "inline"),
        ("- $$\n  x\n  $$", "block"),
        ("> $$\n> x\n> $$", "block"),
        ("[$x$](http://e.com)", "inline"),
        ("2$x$", "inline"),
    ],
)
def test_a_formula(text: str, display: str) -> None:
    html = whole(text)
    assert f'<math display="{display}"><mrow><mi>x</mi></mrow></math>' in html
    assert "$" not in html
    assert ('<span class="formula">' in html) == (display == "block")


# fmt: off
NO_FORMULAS = [
    "$5 and $10", "$5 到 $10", "$5到$10", "$5-$10 each", "US$5, A$6", "5$ und 10$", "a $ b $ c",
    "$ x$", "$x $", "$x", "$$x", "$$", "$$$$", "$", "$x\n\ny$", "$PATH and $HOME",
]
# fmt: on


@pytest.mark.parametrize("text", NO_FORMULAS)
def test_money_and_lone_marks_stay_text(text: str) -> None:
    html = whole(text)
    assert "<math" not in html
    assert text_of(html).replace("\n", "") == text.replace("\n", "")


def test_a_marked_dollar_is_a_dollar() -> None:
    assert whole(r"\$x$ and $\$$") == (
        '<p>$x$ and <math display="inline"><mrow><mi>$</mi></mrow></math></p>'
    )


@pytest.mark.parametrize(
    "text",
    [
        "`$x$`",
        "`\\(x\\)`",
        "```\n$$\nx\n$$\n```",
        "    $x$",
        "$a `b$`",
        "$$\n```\nx\n$$\n```",
        "`a $` b$",
    ],
)
def test_never_in_code(text: str) -> None:
    assert "<math" not in whole(text)
    assert "<code" in whole(text)


def test_lines_that_look_like_a_list_belong_to_their_formula() -> None:
    blocks = render_blocks("Text\n$$\na\n- b\n> c\n$$\nmore")
    assert len(blocks) == 3
    assert blocks[1].count("<mo>") == 2


def test_without_an_end_the_lines_are_what_they_look_like() -> None:
    assert [block[:4] for block in render_blocks("$$ is a pid\n- b\n\nend")] == [
        "<p>$", "<ul>", "<p>e",
    ]  # fmt: skip


def test_text_after_a_formula_stays_with_it() -> None:
    assert whole("\\[\nx\n\\]。").endswith("</span>。</p>")


# --- What it looks like ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        (r"x^2", ["math", "msup", "mi", "mn"]),
        (r"\frac12", ["math", "mfrac", "mn", "mn"]),
        (r"\sqrt[3]{x}", ["math", "mroot", "mi", "mn"]),
        (r"\sum_{i=1}^n i", ["math", "msubsup", "mo", "mi", "mo", "mn", "mi", "mi"]),
        (r"\label{a}x", ["math", "mi"]),
        (r"\begin{equation}x\end{equation}", ["math", "mi"]),
        (r"\begin{cases}a&b\end{cases}", ["math", "mo", "mtable", "mtr", "mtd", "mi", "mtd", "mi"]),
    ],
)
def test_shapes(latex: str, expected: list[str]) -> None:
    assert shapes(whole(f"${latex}$")) == expected


@pytest.mark.parametrize("place", ["", "[t]"])
@pytest.mark.parametrize("name", ["aligned", "align", "align*", "split", "eqnarray"])
def test_lines_are_aligned(name: str, place: str) -> None:
    html = whole(rf"$$\begin{{{name}}}{place}a&=b\\c&=d\end{{{name}}}$$")
    assert shapes(html).count("mtr") == 2
    assert html.count('columnalign="right"') == html.count('columnalign="left"') == 2


def test_lines_without_an_environment_are_lines() -> None:
    assert shapes(whole(r"$$a \\ b$$")).count("mtr") == 2


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"50%", "50%"),
        (r"50\%", "50%"),
        (r"a < b & c".replace("&", r"\&"), "a<b&c"),
        (r"速度=\frac{路程}{时间}", "速度=路程时间"),
        (r"\text{如果 x}", "如果\xa0x"),
        (r"x'", "x′"),
    ],
)
def test_every_character_is_there(latex: str, text: str) -> None:
    assert text_of(whole(f"${latex}$")) == text


def test_a_letter_that_is_set_upright_says_so() -> None:
    assert '<mi mathvariant="normal">d</mi><mi>x</mi>' in whole(r"$\mathrm{d}x$")


@pytest.mark.parametrize(
    ("latex", "html"),
    [
        (r"\pm", "<mo>±</mo>"),
        (r"\implies", "<mo>⟹</mo>"),
        (r"\le", "<mo>≤</mo>"),
        (r"\infty", "<mi>∞</mi>"),
        (r"\alpha", "<mi>α</mi>"),
    ],
)
def test_operators_are_set_apart_and_symbols_are_not(latex: str, html: str) -> None:
    assert html in whole(f"${latex}$")


# --- What is no LaTeX -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "latex",
    [
        "x^",
        "x_1_2",
        r"\left( x",
        r"\nosuch{a}",
        r"\frac{a}",
        "{a",
        "a}",
        "a & b",
        r"\begin{nosuch}a\end{nosuch}",
        r"\begin{matrix}a",
        r"\def\a{b}\a",
        r"\newcommand{\a}{b}\a",
        r"\limits",
        "<b>^",
    ],
)
def test_what_is_not_understood_is_shown_as_it_was_written(latex: str) -> None:
    for text in (f"before ${latex}$ after", f"before $${latex}$$ after"):
        assert "<math" not in whole(text)
        assert text_of(whole(text)) == text


@pytest.mark.parametrize(
    "latex",
    [
        r"\text{<script>alert(1)</script>}",
        r"\text{&lt;img src=x onerror=alert(1)&gt;}",
        r"\text{</math><img src=x onerror=alert(1)>}",
        r"\unicode{x3c}script\unicode{x3e}",
        r"\href{javascript:alert(1)}{x}",
        r"\style{background:url(http://e.com)}{x}",
        r"\class{x}{y}",
        r"\color{white}{x}",
        r"\textcolor{white}{x}",
        r"\rule{9em}{9em}",
        r'\mathop{x}\tag{" onclick=alert(1)}',
        r"\text{<annotation-xml encoding='text/html'><b>x</b></annotation-xml>}",
    ],
)
def test_hostile_formulas_are_harmless(latex: str) -> None:
    """`inspect` refuses every tag and attribute that is not listed."""
    assert inspect(whole(f"${latex}$")).links == []
    assert to_mathml(latex, display=False) is not None, "refused: proves nothing of the sanitiser"


# fmt: off
PIECES = [
    " ", "x", "1", "中", "^", "_", "{", "}", "{", "}", "&", r"\\", "'", "<", ">", "%", r"\frac",
    r"\sqrt", r"\left(", r"\right)", r"\text{<b>}", r"\text{a", r"\over", r"\sum", r"\limits",
    r"\begin{cases}", r"\end{cases}", r"\unicode{x3c}", r"\href{javascript:x}", r"\style{a}",
    r"\color{red}", r"\overbrace", r"\substack", r"\genfrac", r"\sideset", r"\hspace{9em}",
]
# fmt: on


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_any_latex_is_a_formula_or_its_source(latex: str) -> None:
    text = f"a $${latex}$$ b"
    html = whole(text)
    inspect(html)
    if latex.strip() and "<math" not in html:
        assert text_of(html).split() == text.split()


@pytest.mark.parametrize(
    "latex",
    [
        "{" * 10_000 + "}" * 10_000,
        "{" * (MAX_DEPTH + 1) + "}" * (MAX_DEPTH + 1),
        r"\sqrt" * 390 + "x",
        "x^{" * 300 + "}" * 300,
        r"\left(" * 150 + r"\right)" * 150,
        "a" * (MAX_LENGTH + 1),
        r"\def\a{xx}\def\b{\a\a}\def\c{\b\b}\def\d{\c\c}\d",
    ],
)  # fmt: skip
def test_what_would_take_long_is_refused(latex: str) -> None:
    assert to_mathml(latex, display=True) is None


def test_the_converter_is_not_asked_for_what_is_too_long_or_too_deep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chat.formulas.Converter", None)
    for latex in ("{" * 10_000 + "}" * 10_000, "a " * 500_000, "x^{" * 300 + "}" * 300):
        assert to_mathml(latex, display=True) is None


def test_just_within_the_limits() -> None:
    assert to_mathml("a" * MAX_LENGTH, display=True)
    assert to_mathml("{" * (MAX_DEPTH // 2) + "x" + "}" * (MAX_DEPTH // 2), display=True)


@pytest.mark.parametrize(
    "text", ["$a " * 6_000, "$a" * 9_000, "\\(" * 9_000, "\\[ a\n" * 9_000 + "\n.", "$$" * 9_000]
)
def test_many_marks_without_an_end(text: str) -> None:
    """Looking for the end of each anew would meet the suite's time limit here."""
    inspect(whole(text))


# --- While it is written --------------------------------------------------------------------


@pytest.mark.parametrize("formula", ["$x^2$", "$$x^2$$", "\\[\nx\n- y\n\\]", "$$\nx\n\n"])
def test_each_step_shows_what_there_is_and_closed_blocks_stay(formula: str) -> None:
    renderer, so_far, shown = StreamRenderer(), "", list[str]()
    for character in f"First.\n\nSee {formula} and\n\n{formula}\n\nlast":
        so_far += character
        first, html = renderer.push(character)
        shown[first:] = html
        assert shown == render_blocks(so_far)
    assert renderer.finish() == (len(shown), [])


def test_an_unfinished_formula_is_text_until_it_closes() -> None:
    renderer = StreamRenderer()
    assert renderer.push("One.\n\nSo\n$x^2") == (0, ["<p>One.</p>", "<p>So\n$x^2</p>"])
    first, html = renderer.push("$")
    assert first == 1
    assert "<msup>" in html[0]
