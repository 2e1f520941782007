"""From an uploaded file to its entries, one at a time: however large the file, one entry is in
memory. A file is a JSON object, a JSON array of objects, or a zip with conversations.json."""

from __future__ import annotations

import codecs
import re
import zipfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from django.utils.translation import gettext as _

from chat.errors import InvalidRequest

MAX_UNPACKED = 4 * 1024**3
MAX_ENTRY = 64 * 1024**2
"""Characters of one entry."""
CHUNK = 1 << 20
_NAME = re.compile(r"(?:.*/)?conversations(?:-\d+)?\.json")
_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'["\\]')


def entries(file: BinaryIO) -> Iterator[str | None]:
    """The JSON text of each entry; None for one that is too long to be read. Raises InvalidRequest
    for a file that is none of these, or ends in the middle of an entry."""
    is_zip = file.read(4) == b"PK\x03\x04"
    file.seek(0)
    if not is_zip:
        yield from objects(_text(file))
        return
    try:
        with zipfile.ZipFile(file) as archive:
            names = sorted(each for each in archive.namelist() if _NAME.fullmatch(each))
            if not names:
                raise InvalidRequest(_("There is no conversations.json in this zip file."))
            for name in names:
                with archive.open(name) as packed:
                    yield from objects(_text(packed))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise InvalidRequest(
            _("The zip file cannot be read: %(reason)s") % {"reason": str(error)[:200]}
        ) from None


def _text(file: Iterable[bytes] | BinaryIO) -> Iterator[str]:
    decoder, size = codecs.getincrementaldecoder("utf-8-sig")(), 0
    while data := file.read(CHUNK):  # type: ignore[union-attr]
        size += len(data)
        if size > MAX_UNPACKED:
            raise InvalidRequest(
                _("More than %(most)d bytes are not read.") % {"most": MAX_UNPACKED}
            )
        try:
            yield decoder.decode(data)
        except UnicodeDecodeError:
            raise InvalidRequest(_("The file is not UTF-8 text.")) from None


class _Cutter:
    """Cuts the objects (and arrays) at one level out of JSON text that comes in pieces. It looks at
    brackets and strings alone; whether an object is right is for its reader to say."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.depth = 0
        self.level: int | None = None  # the depth at which the objects stand
        self.in_string = False
        self.escaped = False
        self.parts: list[str] = []
        self.size = 0

    def cut(self, chunk: str) -> Iterator[str | None]:
        at, start = 0, 0
        if self.escaped and chunk:
            at, self.escaped = 1, False
        while found := (_INSIDE if self.in_string else _OUTSIDE).search(chunk, at):
            at, mark = found.end(), found[0]
            if mark == "\\":
                self.escaped = at == len(chunk)
                at += 1
            elif mark == '"':
                self.in_string = not self.in_string
            elif mark in "{[":
                self.level = (1 if mark == "[" else 0) if self.level is None else self.level
                start = at - 1 if self.depth == self.level else start
                self.depth += 1
            else:
                self.depth -= 1
                if self.depth == self.level:
                    self._take(chunk[start:at])
                    yield "".join(self.parts) if self.size <= self.most else None
                    self.parts, self.size = [], 0
        if self.level is not None and self.depth > self.level:
            self._take(chunk[start:])

    def _take(self, text: str) -> None:
        self.size += len(text)
        if self.size <= self.most:
            self.parts.append(text)
        else:
            self.parts.clear()


def objects(chunks: Iterable[str], most: int = MAX_ENTRY) -> Iterator[str | None]:
    """The objects of an array, or the one that stands alone, as they are written."""
    cutter, first = _Cutter(most), ""
    for chunk in chunks:
        first = first or chunk.lstrip()[:1]
        if first and first not in "{[":
            break
        yield from cutter.cut(chunk)
    if not first or first not in "{[":
        raise InvalidRequest(_("The file is neither JSON nor a zip file."))
    if cutter.depth:
        raise InvalidRequest(_("The file ends in the middle: it was not copied whole."))
