"""Text files. What encoding one is in is found out and said, or the file is refused: text that was
decoded wrongly looks like text to a program."""

from __future__ import annotations

import codecs
import re

from chat.reading.result import Limits, Reading, Refused, Text

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # begins as UTF-16 does: asked first
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_CONTROLS_PER_MILLE = 2

_DOUBLE = re.compile(
    b"[\x81-\xfe][\x40-\x7e\x80-\xfe]|[\x81-\xfe][\x30-\x39][\x81-\xfe][\x30-\x39]"
)
_EVERYDAY = re.compile(b"[\xa1-\xa3\xb0-\xd7][\xa1-\xfe]")
"""Punctuation and the 3,755 most used characters: nearly all of a Chinese text, and not what the
letters with accents of a European one come to when they are read in pairs."""
_EVERYDAY_SHARE = 0.8
_COMMONEST = re.compile("[的一是不了在人有我他这中大来上国个到说们为子和你地，。、]")
_COMMONEST_SHARE = 0.02
_ENOUGH_TO_COUNT = 50


def read_plain(data: bytes, kind: str, limits: Limits) -> Reading:
    """Raises Refused."""
    decoded, encoding = decode(data)
    text = Text(limits)
    if kind != "html":
        text.at(line=1)
    text.add(decoded.replace("\r\n", "\n").replace("\r", "\n"))
    return text.read(kind, encoding)


def decode(data: bytes, declared: str = "") -> tuple[str, str]:
    """Text, and the name of its encoding. declared: what the file says of itself, tried behind
    what its bytes prove. Raises Refused."""
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            return _checked(_decoded(data, name)), name.removesuffix("-sig").upper()
    text = _decoded(data, "utf-8")
    if text is not None:
        return _checked(text), "UTF-8"
    text = _declared(data, declared)
    if text is not None:
        return _checked(text), declared.upper()
    if _looks_chinese(data):
        return _checked(_decoded(data, "gb18030")), "GB18030"
    raise Refused("encoding_unknown")


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return None


def _declared(data: bytes, name: str) -> str | None:
    if not name:
        return None
    if name.lower() in ("gb2312", "gbk"):
        name = "gb18030"
    return _decoded(data, name)


def _checked(text: str | None) -> str:
    """Raises Refused for what is no text after all."""
    if text is None:
        raise Refused("encoding_unknown")
    if len(_CONTROLS.findall(text)) * 1000 > len(text) * _CONTROLS_PER_MILLE:
        raise Refused("not_read")
    return text


def _looks_chinese(data: bytes) -> bool:
    text = _decoded(data, "gb18030")
    if text is None:
        return False
    double = len(_DOUBLE.findall(data))
    everyday = sum(bool(_EVERYDAY.fullmatch(pair)) for pair in _DOUBLE.findall(data))
    if not double or everyday < double * _EVERYDAY_SHARE:
        return False
    common = len(_COMMONEST.findall(text))
    return double < _ENOUGH_TO_COUNT or common >= double * _COMMONEST_SHARE
