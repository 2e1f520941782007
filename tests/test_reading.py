"""What is in a file: every kind read, every trap refused in words that say which."""

from __future__ import annotations

from typing import Any

import pytest

from chat.reading import archives, plain
from chat.reading.__main__ import answer
from chat.reading.__main__ import read as read_file
from chat.reading.result import Limits, Reading, Refused
from tests import document_files as made

LIMITS = Limits(pages=3, characters=20_000)


def read(name: str, data: bytes, limits: Limits = LIMITS) -> Reading:
    return read_file(name, data, limits)


def refusal(name: str, data: bytes, limits: Limits = LIMITS) -> tuple[str, dict[str, Any]]:
    with pytest.raises(Refused) as caught:
        read(name, data, limits)
    return caught.value.code, caught.value.fields


def test_pages_of_a_pdf_are_told_apart() -> None:
    found = read("report.PDF", made.pdf("One (1)", "Two\nlines"))
    assert found.kind == "pdf"
    assert "One (1)" in found.text
    (first, second) = found.places
    assert (first.start, first.at) == (0, {"page": 1})
    assert found.text[second.start :].split() == ["Two", "lines"]


def test_a_pdf_that_anybody_may_read_is_read() -> None:
    assert "Locked away" in read("a.pdf", made.encrypted_pdf(password="")).text


def test_a_word_document_has_headings_lists_and_tables() -> None:
    lines = read("rivers.docx", made.docx()).text.split("\n\n")
    assert lines[:4] == [
        "# Rivers of Europe",
        "The Danube flows through ten countries.",
        "- the Rhine",
        "River | km\nDanube | 2850",
    ]
    assert "长江是亚洲最长的河流。" in lines


def test_a_sheet_has_rows_with_their_numbers() -> None:
    found = read("costs.xlsx", made.xlsx())
    assert found.text == (
        "# Costs\n\nItem | Euro\nFlour | 12.5\nSugar |  | two lines\n\n# 人\n\n王芳 | 1\n\n"
    )
    places = [(found.text[each.start :].split()[0], each.at) for each in found.places]
    assert places == [
        ("Item", {"sheet": "Costs", "row": 1}),
        ("Sugar", {"sheet": "Costs", "row": 10}),
        ("王芳", {"sheet": "人", "row": 1}),
    ]


def test_a_page_is_its_text_without_scripts() -> None:
    found = read("bread.html", made.HTML.encode())
    assert "Bread is made of flour" in found.text
    assert "three quarters of an hour" in found.text
    assert "alert" not in found.text
    assert "color" not in found.text
    gbk = '<html><head><meta charset="gbk"></head><body><p>面包由面粉制成。</p></body></html>'
    found = read("面包.html", gbk.encode("gb18030"))
    assert ("面包由面粉制成。" in found.text, found.encoding) == (True, "GBK")


CHINESE = "长江是亚洲最长的河流，也是世界第三长河。它流过十一个省。" * 3


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-8", "UTF-8"),
        ("utf-8-sig", "UTF-8"),
        ("utf-16", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("gb18030", "GB18030"),
    ],
)
def test_the_encoding_of_a_text_is_found_and_said(encoding: str, told: str) -> None:
    found = read("河.txt", CHINESE.encode(encoding))
    assert (found.text, found.encoding) == (CHINESE, told)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Größe, Äußeres und Übermut: ein schöner Tag für Süßes. " * 5, "latin-1"),
        ("L'élève a été très étonné à l'école où il était né.", "cp1252"),
        ("Съешь же ещё этих мягких французских булок, да выпей чаю.", "cp1251"),
        ("Съешь же ещё этих мягких французских булок, да выпей чаю. " * 5, "koi8-r"),
        ("吾輩は猫である。名前はまだ無い。", "shift-jis"),
        (CHINESE, "big5"),
    ],
)
def test_a_text_in_another_encoding_is_refused_and_not_guessed(text: str, encoding: str) -> None:
    try:
        data = text.encode(encoding)
    except UnicodeEncodeError:
        data = text.encode(encoding, "ignore")
    assert refusal("a.txt", data)[0] == "encoding_unknown"


def test_source_is_text_and_lines_end_in_one_way() -> None:
    found = read("a.py", b"def f():\r\n    return 1\r\n")
    assert (found.kind, found.text) == ("code", "def f():\n    return 1\n")
    assert found.places[0].at == {"line": 1}
    assert read("README.md", b"# Hi").kind == "markdown"
    assert read("noname", "Überall".encode()).kind == "text"
    # Never parsed, so what it declares is never expanded.
    assert read("a.xml", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>').kind == "code"


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.pdf", b"Only text", "wrong_kind"),
        ("a.docx", b"Only text", "wrong_kind"),
        ("a.docx", made.xlsx(), "wrong_kind"),
        ("a.xlsx", made.docx(), "wrong_kind"),
        ("a.txt", made.pdf("Hi"), "not_read"),
        ("a.md", made.docx(), "not_read"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "not_read"),
        ("a.bin", bytes(range(32)) * 10, "not_read"),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "not_read"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "encrypted"),
        ("a.pdf", made.encrypted_pdf(password="secret"), "encrypted"),
        ("a.pdf", b"%PDF-1.4\nnothing follows", "broken"),
        ("a.pdf", made.pdf("One", "Two")[:300], "broken"),
        ("a.docx", made.docx()[:2000], "broken"),
        ("a.docx", made.rezipped(made.docx(), {"word/document.xml": b"<w:document"}), "broken"),
        ("a.xlsx", made.rezipped(made.xlsx(), {"xl/workbook.xml": b"<workbook"}), "broken"),
        ("a.pdf", made.pdf("", ""), "no_text"),
        ("a.txt", b"  \n", "no_text"),
        ("a.html", b"", "no_text"),
        ("a.html", b"<html><script>x</script></html>", "no_text"),
        ("a.pdf", made.pdf(*"1234"), "too_many_pages"),
        ("a.txt", b"x" * 20_001, "too_many_characters"),
        ("a.pdf", made.pdf(*["Long enough " * 900] * 3), "too_many_characters"),
    ],
)
def test_what_cannot_be_read_is_refused(name: str, data: bytes, code: str) -> None:
    assert refusal(name, data)[0] == code


def test_the_limit_is_named() -> None:
    assert refusal("a.pdf", made.pdf(*"1234"))[1] == {"pages": 4, "limit": 3}


def bomb(size: int = 60_000_000) -> bytes:
    return made.rezipped(made.docx(), {"word/media/a.xml": b" " * size})


@pytest.mark.parametrize("kind", ["docx", "xlsx"])
def test_a_zip_bomb_is_refused_by_what_it_claims(kind: str) -> None:
    good = made.docx() if kind == "docx" else made.xlsx()
    data = made.rezipped(good, {"a.xml": b" " * 60_000_000})
    assert refusal(f"a.{kind}", data)[0] == "archive_bomb"


def test_a_zip_bomb_is_refused_by_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    lying = made.understated(bomb(3_000_000), "word/media/a.xml", 1000)
    code = refusal("a.docx", lying)[0]
    assert code in ("archive_bomb", "broken")
    # All together, though none alone.
    monkeypatch.setattr(archives, "MAX_UNPACKED", 100_000)
    assert refusal("a.docx", made.docx())[0] == "archive_bomb"


def test_too_many_entries_are_refused() -> None:
    many = dict.fromkeys((f"a/{n}" for n in range(archives.MAX_ENTRIES)), b"")
    code, fields = refusal("a.docx", made.rezipped(made.docx(), many))  # type: ignore[arg-type]
    assert (code, fields["limit"]) == ("archive_entries", archives.MAX_ENTRIES)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused_before_anything_parses_them(encoding: str) -> None:
    laughs = '<?xml version="1.0"?><!DOCTYPE z [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><z>&b;</z>'
    evil = made.rezipped(made.docx(), {"word/styles.xml": laughs.encode(encoding)})
    assert refusal("a.docx", evil)[0] == "entities"
    evil = made.rezipped(made.xlsx(), {"xl/sharedStrings.xml": laughs.encode(encoding)})
    assert refusal("a.xlsx", evil)[0] == "entities"


def test_deep_nesting_breaks_nothing() -> None:
    deep = b"<w:p>" * 50_000
    evil = made.rezipped(made.docx(), {"word/document.xml": deep})
    assert answer("a.docx", evil, LIMITS)["refused"] == "broken"
    html = b"<div>" * 20_000 + b"deep" + b"</div>" * 20_000
    told = answer("a.html", html, LIMITS)
    assert told.get("refused") in ("broken", "no_text") or "deep" in told["reading"]["text"]


def test_what_postgresql_cannot_keep_is_replaced() -> None:
    assert plain.decode(b"a\0b" + b" " * 600)[0][1] == "\0"
    assert read("a.txt", b"a\0b" + b" " * 600).text[:3] == "a\ufffdb"
