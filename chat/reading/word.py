"""DOCX: paragraphs, headings, lists and tables, in their order."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from io import BytesIO

from docx import Document
from docx.opc.exceptions import OpcError
from docx.table import Table, _Cell
from docx.text.paragraph import Paragraph
from lxml.etree import LxmlError

from chat.reading.archives import check_archive
from chat.reading.result import Limits, Reading, Refused, Text

_HEADING = re.compile(r"(?:heading|标题)\s*(\d)$", re.IGNORECASE)


def read_docx(data: bytes, limits: Limits) -> Reading:
    """Raises Refused."""
    check_archive(data, "docx")
    text = Text(limits)
    try:
        for line in _lines(Document(BytesIO(data)).iter_inner_content()):
            text.add(line + "\n\n")
    except (OpcError, LxmlError, zipfile.BadZipFile, KeyError, ValueError, AttributeError) as error:
        raise Refused("broken", reason=str(error)[:200]) from error
    return text.read("docx")


def _lines(blocks: Iterator[Paragraph | Table]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Table):
            yield "\n".join(_rows(block))
        elif block.text.strip():
            yield _mark(block) + block.text.strip()


def _rows(table: Table) -> Iterator[str]:
    for row in table.rows:
        seen: list[_Cell] = []  # one that spans columns is named once for each of them
        for cell in row.cells:
            if not any(cell._tc is other._tc for other in seen):
                seen.append(cell)
        yield " | ".join(" ".join(_lines(cell.iter_inner_content())) for cell in seen)


def _mark(paragraph: Paragraph) -> str:
    """How Markdown writes such a paragraph."""
    style = (paragraph.style.name or "") if paragraph.style is not None else ""
    if heading := _HEADING.match(style):
        return "#" * min(6, max(1, int(heading[1]))) + " "
    return "- " if style.lower().startswith("list") else ""
