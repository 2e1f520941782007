"""Code to HTML spans, and the stylesheet that colours them. Pure; no Django.

`python -c "from chat.highlighting import stylesheet; print(stylesheet(), end='')" \
    > static/chat/highlight.css` writes the stylesheet again; a test says when it is stale.
"""

from __future__ import annotations

from functools import lru_cache
from html import escape

from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES, Token, _TokenType
from pygments.util import ClassNotFound

# Longer code is shown plain: a lexer's time is not bounded by its input's length alone.
MAX_HIGHLIGHTED = 50_000

# A fixed list, so that a model's answer cannot pick the slowest of Pygments' 500 lexers.
# fmt: off
LANGUAGES = frozenset({
    "bash", "c", "c++", "cpp", "console", "cs", "csharp", "css", "cuda", "diff", "django", "docker",
    "dockerfile", "go", "graphql", "haskell", "html", "ini", "java", "javascript", "js", "json",
    "jsx", "julia", "kotlin", "latex", "lua", "makefile", "markdown", "md", "nginx", "objective-c",
    "perl", "php", "powershell", "proto", "py", "python", "python3", "r", "rb", "rs", "ruby",
    "rust", "scala", "scss", "sh", "shell", "sql", "svg", "swift", "tex", "toml", "ts", "tsx",
    "typescript", "vue", "xml", "yaml", "yml", "zig", "zsh",
})
# fmt: on

# Kind of token -> colour on the light and on the dark page, each at least 4.5:1 on its background.
PALETTE: dict[_TokenType, tuple[str, str]] = {
    Token.Comment: ("#6a6a63", "#93958f"),
    Token.Keyword: ("#8b2d7a", "#dd9fd2"),
    Token.Operator.Word: ("#8b2d7a", "#dd9fd2"),
    Token.Literal.String: ("#356a2c", "#a8cf95"),
    Token.Literal.Number: ("#9a4a12", "#e8b184"),
    Token.Name.Function: ("#1d5a9e", "#8fc1f2"),
    Token.Name.Class: ("#1d5a9e", "#8fc1f2"),
    Token.Name.Tag: ("#1d5a9e", "#8fc1f2"),
    Token.Name.Builtin: ("#0f6670", "#80cbd2"),
    Token.Name.Decorator: ("#7a5600", "#dcc077"),
    Token.Name.Attribute: ("#7a5600", "#dcc077"),
    Token.Generic.Deleted: ("#a3262c", "#f0999b"),
    Token.Generic.Inserted: ("#356a2c", "#a8cf95"),
    Token.Generic.Heading: ("#1d5a9e", "#8fc1f2"),
}
CLASSES = frozenset(name for name in STANDARD_TYPES.values() if name)

_FORMATTER: HtmlFormatter[str] = HtmlFormatter(nowrap=True)


def highlight_code(code: str, language: str) -> str:
    """Escaped HTML of `code`, with class-based spans where the language is known."""
    lexer = _lexer(language.lower())
    if lexer is None or len(code) > MAX_HIGHLIGHTED:
        return escape(code, quote=False)
    html: str = highlight(code, lexer, _FORMATTER)
    return html


@lru_cache(maxsize=128)
def _lexer(language: str) -> Lexer | None:
    if language not in LANGUAGES:
        return None
    try:
        # The text is shown as it was written: nothing is stripped, no line end is added.
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:  # a name in our list that this version of Pygments lacks
        return None


def stylesheet() -> str:
    """CSS that colours `highlight_code`'s spans on the light and the dark page."""
    rules = ["/* Written by chat/highlighting.py; see its first lines. */"]
    for kind, (light, dark) in PALETTE.items():
        names = sorted(
            name for token, name in STANDARD_TYPES.items() if _governs(kind, token) and name
        )
        selector = ", ".join(f".highlight .{name}" for name in names)
        rules.append(f"{selector} {{ color: light-dark({light}, {dark}); }}")
    rules.append(".highlight .gs { font-weight: 700; }")
    rules.append(".highlight .ge { font-style: italic; }")
    return "\n".join(rules) + "\n"


def _governs(kind: _TokenType, token: _TokenType) -> bool:
    """Whether `kind` is the nearest kind of the palette at or above `token`."""
    nearest = next((t for t in reversed(token.split()) if t in PALETTE), None)
    return nearest is kind
