"""PDF: the text of each page. A page that is a picture has none."""

from __future__ import annotations

from io import BytesIO

from pypdf import PdfReader
from pypdf.errors import DependencyError, PyPdfError

from chat.reading.result import Limits, Reading, Refused, Text


def read_pdf(data: bytes, limits: Limits) -> Reading:
    """Raises Refused."""
    try:
        return _read(PdfReader(BytesIO(data)), limits)
    except DependencyError as error:
        raise Refused("encrypted") from error
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise Refused("broken", reason=str(error)[:200]) from error


def _read(reader: PdfReader, limits: Limits) -> Reading:
    # An empty password opens what is only locked against changes.
    if reader.is_encrypted and not reader.decrypt(""):
        raise Refused("encrypted")
    pages = len(reader.pages)
    if pages > limits.pages:
        raise Refused("too_many_pages", pages=pages, limit=limits.pages)
    text = Text(limits)
    for number in range(pages):
        text.at(page=number + 1)
        text.add(reader.pages[number].extract_text().strip() + "\n\n")
    return text.read("pdf")
