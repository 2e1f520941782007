"""DOCX and XLSX are ZIP archives of XML: measured and looked through before anything parses them.

What an archive says of its own sizes is only a claim, so every entry is unpacked once, into
nothing, and counted.
"""

from __future__ import annotations

import zipfile
import zlib
from io import BytesIO

from chat.reading.result import Refused

MAX_ENTRIES = 5_000
MAX_UNPACKED = 200_000_000
MAX_RATIO = 200
"""Deflate packs at most about 1,000 to 1; a real document's XML seldom 30 to 1."""
SMALL = 1_000_000
"""Bytes of an entry that may be packed as tightly as it likes: a short file of spaces is."""
_PIECE = 1 << 16

_DECLARATIONS = [
    mark.encode(encoding)
    for mark in ("<!DOCTYPE", "<!ENTITY")
    for encoding in ("utf-8", "utf-16-le", "utf-16-be")
]
_PARTS = {"docx": "word/document.xml", "xlsx": "xl/workbook.xml"}


def check_archive(data: bytes, kind: str) -> None:
    """Raises Refused."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            _check(archive, kind)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise Refused("broken", reason=str(error)[:200]) from None


def _check(archive: zipfile.ZipFile, kind: str) -> None:
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise Refused("archive_entries", entries=len(entries), limit=MAX_ENTRIES)
    if any(entry.flag_bits & 1 for entry in entries):
        raise Refused("encrypted")
    if _PARTS[kind] not in archive.namelist():
        raise Refused("wrong_kind", kind=kind)
    _check_sizes([(entry.file_size, entry.compress_size) for entry in entries])
    total = 0
    for entry in entries:
        total += _unpack(archive, entry, MAX_UNPACKED - total)


def _check_sizes(sizes: list[tuple[int, int]]) -> None:
    """As they are claimed."""
    if sum(size for size, _ in sizes) > MAX_UNPACKED:
        raise Refused("archive_bomb", limit=MAX_UNPACKED)
    for size, packed in sizes:
        if size > SMALL and size > packed * MAX_RATIO:
            raise Refused("archive_bomb", limit=MAX_UNPACKED)


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, room: int) -> int:
    """Its real size. A declaration of entities, which this format forbids, is what makes a few
    bytes of XML into gigabytes."""
    size, is_xml = 0, entry.filename.lower().endswith((".xml", ".rels", ".vml"))
    before = b""
    with archive.open(entry) as stream:
        while piece := stream.read(_PIECE):
            size += len(piece)
            if size > room or (size > SMALL and size > entry.compress_size * MAX_RATIO):
                raise Refused("archive_bomb", limit=MAX_UNPACKED)
            if is_xml and any(mark in before + piece for mark in _DECLARATIONS):
                raise Refused("entities")
            before = piece[-32:]
    return size
