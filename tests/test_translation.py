"""Chinese is whole: what the source says is translated, and the .mo is what the .po compiles to.

No gettext tools: templates are read by Django's own extraction, Python by its syntax tree. A
string's key is its key in a .mo file: context, EOT, singular, NUL, plural.
"""

from __future__ import annotations

import ast
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation.template import templatize

from chat.error_words import retold
from chat.errors import wire
from inference.errors import (
    ContextLengthExceeded,
    EngineError,
    InvalidParameter,
    ModelNotFound,
    QueueFull,
)

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / "chat" / "locale" / "zh_Hans" / "LC_MESSAGES"

MARKS = re.compile(r"(_|u?(n|p|np)?gettext(_lazy|_noop)?)$")
LITERAL = r"""u?(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
TEMPLATE_CALL = re.compile(rf"\b(?:_|n?p?gettext)\((?:{LITERAL}|[^'\")])*\)")
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|\{\w+\}|%%")
HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,;:?!.()\"]|[,;:?!()\"][\u4e00-\u9fff]")


@dataclass
class Entry:
    """One entry of a .po file. translations: one for each plural form; Chinese has one form."""

    key: str
    translations: list[str]
    flags: set[str] = field(default_factory=set)


def python_keys(source: str) -> Iterator[str]:
    """The key of every string that a translating call names. Raises ValueError for an f-string,
    which no catalogue can hold."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if not MARKS.match(name) or not node.args:
            continue
        if any(isinstance(argument, ast.JoinedStr) for argument in node.args):
            raise ValueError(f"line {node.lineno}: an f-string cannot be translated")
        said = [str(a.value) for a in node.args if isinstance(a, ast.Constant)]
        context = said.pop(0) + "\x04" if "pgettext" in name else ""
        if said:
            yield context + "\0".join(said[: 2 if "ngettext" in name or "npgettext" in name else 1])


def template_keys(source: str) -> Iterator[str]:
    for call in TEMPLATE_CALL.findall(templatize(source)):
        yield from python_keys(call)


def said_by_the_source() -> set[str]:
    modules = [p for f in ("chat", "inference", "tinyllm_site") for p in (ROOT / f).rglob("*.py")]
    templates = (ROOT / "templates").rglob("*.html")
    return {
        *(key for path in modules for key in python_keys(path.read_text())),
        *(key for path in templates for key in template_keys(path.read_text())),
    }


def parse_po(text: str) -> dict[str, Entry]:
    """The header has the key ''. Entries that are commented out are not there."""
    found = {}
    for block in re.split(r"\n\s*\n", text):
        values: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            match = re.fullmatch(r'(?:(msg\S+) )?(".*")', line)
            if match:
                name = match[1] or name
                values[name] = values.get(name, "") + ast.literal_eval(match[2])
        if "msgid" not in values:
            continue
        key = values["msgid"]
        key = f"{values['msgctxt']}\x04{key}" if "msgctxt" in values else key
        key = f"{key}\0{values['msgid_plural']}" if "msgid_plural" in values else key
        flags = set(re.findall(r"[\w-]+", " ".join(re.findall(r"^#,(.*)$", block, re.M))))
        found[key] = Entry(key, [v for k, v in values.items() if k.startswith("msgstr")], flags)
    return found


def read_mo(data: bytes) -> dict[str, str]:
    """Key -> translation, plural forms joined by NUL, of a little-endian .mo file."""
    magic, _revision, count, keys, translations = struct.unpack_from("<5I", data)
    assert magic == 0x950412DE

    def text(table: int, index: int) -> str:
        length, start = struct.unpack_from("<2I", data, table + 8 * index)
        return data[start : start + length].decode()

    return {text(keys, index): text(translations, index) for index in range(count)}


def complaints(said: set[str], po: dict[str, Entry], mo: dict[str, str]) -> list[str]:
    """Everything that is wrong with a catalogue, for a source that says `said`."""
    known = po.keys() - {""}
    found = [f"missing: {key!r}" for key in sorted(said - known)]
    found += [f"no longer said: {key!r}" for key in sorted(known - said)]
    for key in sorted(known):
        entry = po[key]
        if "fuzzy" in entry.flags:
            found.append(f"fuzzy: {key!r}")
        if len(entry.translations) != 1 or not entry.translations[0].strip():
            found.append(f"untranslated: {key!r}")
            continue
        told = entry.translations[0]
        original = key.rpartition("\x04")[2].rpartition("\0")[2]
        if sorted(PLACEHOLDER.findall(told)) != sorted(PLACEHOLDER.findall(original)):
            found.append(f"other placeholders: {key!r}")
        if HALF_WIDTH.search(told):
            found.append(f"half-width punctuation: {told!r}")
    # The compiler leaves a date out of the header.
    compiled = {key: "\0".join(entry.translations) for key, entry in po.items() if key}
    if {key: told for key, told in mo.items() if key} != compiled:
        found.append("the .mo is not what the .po compiles to")
    return found


def test_everything_is_translated() -> None:
    said = said_by_the_source()
    assert len(said) > 150
    po = parse_po((CATALOGUE / "django.po").read_text())
    mo = read_mo((CATALOGUE / "django.mo").read_bytes())
    assert complaints(said, po, mo) == []
    assert "nplurals=1; plural=0;" in mo[""]


GOOD = 'msgid ""\nmsgstr "x: y\\n"\n\n#, python-format\nmsgid "%(n)s a"\n"b"\nmsgstr "好，%(n)s"\n'


@pytest.mark.parametrize(
    ("said", "po", "complaint"),
    [
        ("%(n)s ab", GOOD, ""),
        ("Another", GOOD, "missing: 'Another'"),
        ("", GOOD, "no longer said"),
        ("%(n)s ab", GOOD.replace("好，%(n)s", ""), "untranslated"),
        ("%(n)s ab", GOOD.replace("#, ", "#, fuzzy, "), "fuzzy"),
        ("%(n)s ab", GOOD.replace("好，%(n)s", "好，%(m)s"), "other placeholders"),
        ("%(n)s ab", GOOD.replace("好，", "好,"), "half-width punctuation"),
        ("%(n)s ab", GOOD.replace("好", "很好"), "the .mo is not"),
    ],
)
def test_the_check_can_fail(said: str, po: str, complaint: str) -> None:
    compiled = {"": "x: y\n", "%(n)s ab": "好，%(n)s"}
    if complaint and complaint != "the .mo is not":
        compiled = {key: "".join(entry.translations) for key, entry in parse_po(po).items()}
    found = complaints({said} - {""}, parse_po(po), compiled)
    assert found == [] if not complaint else any(line.startswith(complaint) for line in found)


def test_extraction_finds_every_way_of_saying() -> None:
    python = '_("a" "b"); t.ngettext("one", "many", n); pgettext_lazy("c", "d"); _(name); f("no")'
    assert set(python_keys(python)) == {"ab", "one\0many", "c\x04d"}
    with pytest.raises(ValueError, match="f-string"):
        list(python_keys('_(f"{n} tokens")'))
    template = """
        {% trans "it's" %}{% translate 'x' context 'c' %}{{ _('in (a) value') }}
        {% blocktranslate trimmed count n=n %}
            one "{{ n }}"
            line {% plural %} {{ n }} lines{% endblocktranslate %}
        {# {% trans 'never' %} #}"""
    assert set(template_keys(template)) == {
        "it's",
        "c\x04x",
        "in (a) value",
        'one "%(n)s" line\0%(n)s lines',
    }


@pytest.mark.parametrize(
    ("error", "chinese"),
    [
        (ContextLengthExceeded(9000, 8192), "9000 个 token，而此模型最多读取 8192 个"),
        (InvalidParameter("top_p", 7, "above 0"), "top_p 不能是 7"),
        (ModelNotFound("x", ["chat", "story"]), "没有名为 x 的模型。可用的有：chat, story。"),
        (QueueFull("Too many wait.", waiting=9, limit=9), "排队的请求太多"),
    ],
)
def test_the_engine_s_errors_are_told_in_chinese(error: EngineError, chinese: str) -> None:
    assert wire(error).message == error.message
    with translation.override("zh-hans"):
        assert chinese in wire(error).message


def test_a_recorded_error_is_told_to_whoever_reads_it() -> None:
    recorded = {"code": "server_stopped", "message": "It stopped.", "fields": {}, "retryable": True}
    incomplete = {**recorded, "code": "model_not_found"}
    assert retold(recorded) == recorded
    assert retold(None) is None
    with translation.override("zh-hans"):
        assert "服务器就停止了" in (retold(recorded) or {})["message"]
        assert retold(incomplete) == incomplete


@pytest.mark.parametrize(("languages", "example"), [(["en"], "Explain why"), (["zh"], "给十岁")])
def test_an_example_is_in_a_language_that_the_model_reads(
    languages: list[str], example: str
) -> None:
    model = {"name": "chat", "kind": "chat", "languages": languages}
    with translation.override("zh-hans"):
        page = render_to_string("chat/welcome.html", {"models": [model]})
    assert example in page
    assert "想写点什么" in page
