"""What kind of file this is: by its name, and whether its first bytes agree."""

from __future__ import annotations

from pathlib import PurePath

from chat.reading.result import Refused

BY_END = {
    ".pdf": "pdf",
    ".docx": "docx",
    ".xlsx": "xlsx",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".md": "markdown",
    ".markdown": "markdown",
}
"""Every other name is that of a text, if its bytes are."""

_CODE = (
    ".bash .bat .c .cc .clj .cpp .cs .css .cu .cxx .dart .ex .go .h .hpp .hs .ini .java .jl .js "
    ".json .jsx .kt .lua .m .mjs .php .pl .ps1 .py .r .rb .rs .scala .scss .sh .sql .swift .toml "
    ".ts .tsx .vue .xml .yaml .yml .zig"
)
CODE = frozenset(_CODE.split())

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_BINARY = {
    b"\x89PNG": "image",
    b"\xff\xd8\xff": "image",
    b"GIF8": "image",
    b"RIFF": "media",
    b"\x1f\x8b": "archive",
    b"7z\xbc\xaf": "archive",
    b"Rar!": "archive",
    b"\x7fELF": "program",
    b"MZ\x90": "program",
}


def kind_of(name: str, data: bytes) -> str:
    """pdf, docx, xlsx, html, markdown, code or text. Raises Refused."""
    end = PurePath(name.lower()).suffix
    kind = BY_END.get(end) or ("code" if end in CODE else "text")
    content = _content(data)
    if kind in ("docx", "xlsx"):
        if content == "ole":  # an encrypted package is wrapped into the older format
            raise Refused("encrypted")
        if content != "zip":
            raise Refused("wrong_kind", kind=kind)
    elif kind == "pdf":
        if content != "pdf":
            raise Refused("wrong_kind", kind=kind)
    elif content:
        raise Refused("not_read")
    return kind


def _content(data: bytes) -> str:
    """What the bytes say of themselves, "" where they may be text."""
    if b"%PDF-" in data[:1024]:
        return "pdf"
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if data.startswith(_OLE):
        return "ole"
    return next((kind for mark, kind in _BINARY.items() if data.startswith(mark)), "")
