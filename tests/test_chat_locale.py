"""Both languages say everything: each string of the source is in the Chinese catalogue."""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / "chat" / "locale" / "zh_Hans" / "LC_MESSAGES"
MARKS = {"_", "gettext", "gettext_lazy", "gettext_noop"}
TAG = re.compile(r"""\{%\s*(?:translate|trans)\s+(["'])(.+?)\1""")
BLOCK = re.compile(
    r"\{%\s*blocktrans(?:late)?([^%]*)%\}(.*?)\{%\s*endblocktrans(?:late)?\s*%\}", re.S
)
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|\{\w+\}")


def python_strings() -> Iterator[str]:
    for folder in ("chat", "inference", "tinyllm_site"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id in MARKS
                    and node.args
                    and isinstance(node.args[0], ast.Constant)
                ):
                    yield str(node.args[0].value)


def template_strings() -> Iterator[str]:
    for path in (ROOT / "templates").rglob("*.html"):
        text = path.read_text()
        yield from (found[2] for found in TAG.finditer(text))
        for found in BLOCK.finditer(text):
            said = re.sub(r"\{\{\s*(\w+)\s*\}\}", r"%(\1)s", found[2])
            trimmed = " ".join(line.strip() for line in said.strip().splitlines())
            yield trimmed if "trimmed" in found[1] else said


@pytest.fixture(scope="module")
def chinese() -> gettext.GNUTranslations:
    with (CATALOGUE / "django.mo").open("rb") as file:
        return gettext.GNUTranslations(file)


def test_every_string_is_in_the_catalogue(chinese: gettext.GNUTranslations) -> None:
    known = set(chinese._catalog)  # type: ignore[attr-defined]
    said = {*python_strings(), *template_strings()}
    assert len(said) > 100
    assert sorted(said - known) == []


def test_translations_keep_their_placeholders(chinese: gettext.GNUTranslations) -> None:
    for said in {*python_strings(), *template_strings()}:
        translated = chinese.gettext(said)
        assert sorted(PLACEHOLDER.findall(translated)) == sorted(PLACEHOLDER.findall(said)), said


def test_the_compiled_catalogue_is_that_of_the_source(chinese: gettext.GNUTranslations) -> None:
    source = (CATALOGUE / "django.po").read_text()
    pairs = re.findall(r'^msgid "(.+)"\nmsgstr "(.*)"$', source, re.M)
    assert len(pairs) > 100
    for said, translated in pairs:
        assert translated, f"{said!r} is not translated"
        assert chinese.gettext(said.replace('\\"', '"')) == translated.replace('\\"', '"')
