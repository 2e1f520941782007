"""Documents, good and evil, made while the tests run: none is kept in the repository."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from io import BytesIO

from docx import Document
from openpyxl import Workbook
from pypdf import PdfWriter


def pdf(*pages: str) -> bytes:
    """A page of text for each of these; lines are broken where they are. Latin letters only."""
    objects: list[str] = []
    kids = " ".join(f"{4 + 2 * index} 0 R" for index in range(len(pages)))
    objects.append("<< /Type /Catalog /Pages 2 0 R >>")
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>")
    objects.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for index, page in enumerate(pages):
        resources = "<< /Font << /F1 3 0 R >> >>"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources {resources} "
            f"/Contents {5 + 2 * index} 0 R >>"
        )
        shown = " T* ".join(f"({_escaped(line)}) Tj" for line in page.splitlines())
        stream = f"BT /F1 12 Tf 14 TL 50 740 Td {shown} ET"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    return _assembled(objects)


def _escaped(line: str) -> str:
    return line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def _assembled(objects: Sequence[str]) -> bytes:
    out = bytearray(b"%PDF-1.4\n")
    starts = []
    for number, body in enumerate(objects, start=1):
        starts.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = "".join(f"{start:010} 00000 n \n" for start in starts)
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF"
    return bytes(out) + (head + trailer).encode()


def encrypted_pdf(*, password: str, owner_password: str = "theirs") -> bytes:
    writer = PdfWriter(clone_from=BytesIO(pdf("Locked away")))
    writer.encrypt(password, owner_password, algorithm="AES-256")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def docx() -> bytes:
    made = Document()
    made.add_heading("Rivers of Europe", level=1)
    made.add_paragraph("The Danube flows through ten countries.")
    made.add_paragraph("the Rhine", style="List Bullet")
    table = made.add_table(rows=2, cols=2)
    for row, cells in enumerate((("River", "km"), ("Danube", "2850"))):
        for column, cell in enumerate(cells):
            table.cell(row, column).text = cell
    made.add_paragraph("长江是亚洲最长的河流。")
    out = BytesIO()
    made.save(out)
    return out.getvalue()


def xlsx() -> bytes:
    """Two sheets; in the first one rows 3 to 9 are empty."""
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Costs"
    sheet["A1"], sheet["B1"] = "Item", "Euro"
    sheet["A2"], sheet["B2"] = "Flour", 12.5
    sheet["A10"], sheet["C10"] = "Sugar", "two\nlines"
    book.create_sheet("空").append([None])
    book.create_sheet("人").append(["王芳", 1])
    out = BytesIO()
    book.save(out)
    return out.getvalue()


def rezipped(data: bytes, changes: dict[str, bytes | None]) -> bytes:
    """The archive with entries added or replaced; None takes one out."""
    out = BytesIO()
    with (
        zipfile.ZipFile(BytesIO(data)) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.infolist():
            if entry.filename not in changes:
                new.writestr(entry.filename, old.read(entry))
        for name, content in changes.items():
            if content is not None:
                new.writestr(name, content)
    return out.getvalue()


def understated(data: bytes, name: str, size: int) -> bytes:
    """The archive, claiming in both of its tables that an entry is only so large."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        entry = archive.getinfo(name)
    changed = bytearray(data)
    real, claim = entry.file_size.to_bytes(4, "little"), size.to_bytes(4, "little")
    local = entry.header_offset + 22
    assert changed[local : local + 4] == real
    changed[local : local + 4] = claim
    central = changed.rindex(name.encode()) - 46 + 24
    assert changed[central : central + 4] == real
    changed[central : central + 4] = claim
    return bytes(changed)


HTML = """<!doctype html><html><head><title>Bread</title><style>p { color: red }</style></head>
<body><nav><a href="/">Home</a></nav><article><h1>Bread</h1>
<p>Bread is made of flour, water and salt, and it takes a good while until it is done.</p>
<p>It is baked at two hundred degrees, in a stone oven, for about three quarters of an hour.</p>
</article><script>alert("no")</script></body></html>"""
