"""HTML: the text that a page is about, without menus, scripts and styles. Nothing is fetched."""

from __future__ import annotations

import re

import lxml.html
from lxml.etree import LxmlError
from trafilatura import extract

from chat.reading.plain import decode
from chat.reading.result import Limits, Reading, Refused, Text

_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([\w-]{1,40})""", re.IGNORECASE)
_UNSEEN = ("script", "style", "noscript", "template", "head", "iframe", "object")
_BLOCKS = "p div li tr h1 h2 h3 h4 h5 h6 br section article blockquote pre table"
_MOSTLY = 0.3
"""Less of a page's text than this share is not its article: then all of it is taken."""


def read_html(data: bytes, limits: Limits) -> Reading:
    """Raises Refused."""
    declared = _CHARSET.search(data[:4096])
    source, encoding = decode(data, declared[1].decode("ascii") if declared else "")
    try:
        whole = _whole(source)
        article = extract(source, output_format="markdown", include_comments=False) or ""
    except (LxmlError, ValueError, RecursionError) as error:
        raise Refused("broken", reason=str(error)[:200]) from error
    text = Text(limits)
    text.add(article if len(article) >= len(whole) * _MOSTLY else whole)
    return text.read("html", encoding)


def _whole(source: str) -> str:
    """All text that a browser would show."""
    if not source.strip():
        raise Refused("no_text")
    # As bytes: a declared encoding within text is an error to lxml.
    parser = lxml.html.HTMLParser(encoding="utf-8", no_network=True)
    tree = lxml.html.document_fromstring(source.encode(), parser=parser)
    for element in list(tree.iter(*_UNSEEN)):
        element.drop_tree()
    for element in tree.iter(*_BLOCKS.split()):
        element.tail = "\n" + (element.tail or "")
    lines = (" ".join(line.split()) for line in tree.text_content().splitlines())
    return "\n".join(line for line in lines if line)
