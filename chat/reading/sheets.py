"""XLSX: each sheet row by row, with the values that its formulas had when it was saved."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from io import BytesIO
from typing import Any
from xml.etree.ElementTree import ParseError

from lxml.etree import LxmlError
from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from chat.reading.archives import check_archive
from chat.reading.result import Limits, Reading, Refused, Text

_BROKEN = (
    InvalidFileException,
    ParseError,
    LxmlError,
    zipfile.BadZipFile,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
)


def read_xlsx(data: bytes, limits: Limits) -> Reading:
    """Raises Refused."""
    check_archive(data, "xlsx")
    text = Text(limits)
    try:
        book = load_workbook(BytesIO(data), read_only=True, data_only=True, keep_links=False)
        for sheet in book.worksheets:
            # What it says of its own size may be wrong, and is then believed.
            sheet.reset_dimensions()
            _read(sheet.title, sheet.iter_rows(values_only=True), text)
    except _BROKEN as error:
        raise Refused("broken", reason=str(error)[:200]) from error
    return text.read("xlsx")


def _read(title: str, rows: Any, text: Text) -> None:
    before = None
    for number, row in enumerate(rows, start=1):
        line = _line(row)
        if not line:
            continue
        if before is None:
            text.add(f"# {title}\n\n")
        if before != number - 1:
            text.at(sheet=title, row=number)
        before = number
        text.add(line + "\n")
    if before is not None:
        text.add("\n")


def _line(row: Sequence[Any]) -> str:
    cells = ["" if value is None else " ".join(str(value).split()) for value in row]
    while cells and not cells[-1]:
        cells.pop()
    return " | ".join(cells)
