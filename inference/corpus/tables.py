"""The tables of one language, read from plain text under `data/`.

pools    a file of `name: a / b / c`, or `name:` and one `- line` for each
people   `kind | world | gender | names`
plots    `== name`, a head of `key: value`, rows of cases, and beats of `- line`
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from inference.corpus.templates import Line, TemplateError, Thesaurus, alternatives, parse_line

Widen = Callable[[str], str]
DATA = Path(__file__).parent / "data"
LANGUAGES = ("en", "zh")
# Columns of a table of facts that hold whole sentences, and the length in words from which a cell
# of a case does: shorter ones are names of things, which stay the same in a story.
_SENTENCES = ("sense",)
_SENTENCE_WORDS = 4


@dataclass(frozen=True, slots=True)
class Beat:
    """One step of a plot. optional: long stories have it. interlude: any small thing that happens
    on the way. shared: the name of a pool that says it. gains, ends: facts that begin and end.
    says: names of beats that are said with it, and so are left out."""

    name: str
    lines: tuple[Line, ...] = ()
    optional: bool = False
    interlude: str = ""
    shared: str = ""
    gains: frozenset[str] = frozenset()
    ends: frozenset[str] = frozenset()
    says: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Case:
    """What a plot is about this time: fields of text. reserved: kept for held-out stories."""

    fields: dict[str, tuple[Line, ...]]
    words: dict[str, str]
    reserved: bool = False


@dataclass(slots=True)
class Plot:
    """head: who, where and when it can be. beats: what happens, causes before effects. open: it
    suits any hero, thing and place."""

    name: str
    head: dict[str, str] = field(default_factory=dict)
    cases: list[Case] = field(default_factory=list)
    beats: list[Beat] = field(default_factory=list)
    open: bool = False

    def words(self, key: str, default: str = "") -> list[str]:
        return self.head.get(key, default).split()

    def beat(self, name: str) -> Beat | None:
        return next((beat for beat in self.beats if beat.name == name), None)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table of facts: its cells by the names of the table's head."""

    cells: dict[str, str]
    reserved: bool

    def __getitem__(self, name: str) -> str:
        return self.cells[name]

    def words(self, name: str) -> list[str]:
        return self.cells[name].split()

    def items(self, name: str) -> list[str]:
        return [item.strip() for item in self.cells[name].split("/") if item.strip()]


@dataclass(frozen=True, slots=True)
class Tables:
    language: str
    plots: tuple[Plot, ...]
    open_plots: tuple[Plot, ...]
    pools: dict[str, tuple[Line, ...]]
    rows: dict[str, tuple[Row, ...]]
    version: str


@lru_cache
def load(language: str) -> Tables:
    """Raises TemplateError, which names the file and the text."""
    folder = DATA / language
    words = _words(folder / "thesaurus.txt")
    widen = Thesaurus(words).widen
    wider = Thesaurus([*words, *_words(folder / "open" / "thesaurus.txt")]).widen
    pools: dict[str, tuple[Line, ...]] = {}
    for path in sorted(folder.rglob("*.pools")):
        pools |= _pools(path, wider if path.parent.name == "open" else widen)
    plots = [plot for path in sorted(folder.glob("plots/*.plots")) for plot in _plots(path, widen)]
    opens = [plot for path in sorted(folder.glob("open/*.plots")) for plot in _plots(path, wider)]
    for plot in opens:
        plot.open = True
    rows = {path.stem: tuple(_rows(path, widen)) for path in sorted(folder.rglob("*.table"))}
    return Tables(language, tuple(plots), tuple(opens), pools, rows, _version(folder))


def _version(folder: Path) -> str:
    """Of the tables: changes with every word of them."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that say something; one that begins with two spaces goes on from the line before."""
    number, held = 0, ""
    for count, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if line.startswith("  ") and held:
            held += " " + line.strip()
            continue
        if held:
            yield number, held
        number, held = count, "" if line.startswith("//") else line.rstrip()
    if held:
        yield number, held


def _words(path: Path) -> list[str]:
    return [line for _, line in _lines(path)] if path.exists() else []


def _at(path: Path, number: int, error: Exception | str) -> TemplateError:
    return TemplateError(f"{path.name}, line {number}: {error}")


def _pools(path: Path, widen: Widen) -> dict[str, tuple[Line, ...]]:
    pools: dict[str, list[Line]] = {}
    name = ""
    for number, text in _lines(path):
        try:
            if text.startswith("- "):
                pools[name].append(parse_line(widen(text[2:])))
                continue
            name, colon, rest = text.partition(":")
            if not colon or name in pools:
                raise TemplateError(f"neither a new pool nor a line: {text!r}")
            pools[name] = list(alternatives(rest))
        except (TemplateError, KeyError) as error:
            raise _at(path, number, error) from error
    return {key: tuple(lines) for key, lines in pools.items()}


def _rows(path: Path, widen: Widen) -> Iterator[Row]:
    names: list[str] = []
    for number, text in _lines(path):
        cells = [cell.strip() for cell in text.removeprefix("~").split(" | ")]
        if not names:
            names = cells
        elif len(cells) != len(names):
            raise _at(path, number, f"{len(cells)} cells, not {len(names)}: {text!r}")
        else:
            row = dict(zip(names, cells, strict=True))
            row |= {name: widen(row[name]) for name in _SENTENCES if name in row}
            yield Row(row, text.startswith("~"))


def _plots(path: Path, widen: Widen) -> list[Plot]:
    plots: list[Plot] = []
    names: list[str] = []
    for number, text in _lines(path):
        try:
            if text.startswith("== "):
                plots.append(Plot(text[3:].strip()))
                names = []
            elif text.startswith("# "):
                plots[-1].beats.append(_beat(text[2:]))
            elif text.startswith("- "):
                beat = plots[-1].beats[-1]
                lines = (*beat.lines, parse_line(widen(text[2:])))
                plots[-1].beats[-1] = _replaced(beat, lines)
            elif names and not plots[-1].beats:
                plots[-1].cases.append(_case(names, text, widen))
            else:
                key, _, value = text.partition(":")
                plots[-1].head[key.strip()] = value.strip()
                names = [n.strip() for n in value.split(" | ")] if key.strip() == "case" else []
        except (TemplateError, IndexError, ValueError) as error:
            raise _at(path, number, error) from error
    return plots


def _replaced(beat: Beat, lines: tuple[Line, ...]) -> Beat:
    return replace(beat, lines=lines)


def _case(names: list[str], text: str, widen: Widen) -> Case:
    cells = [cell.strip() for cell in text.removeprefix("~").split(" | ")]
    if len(cells) != len(names):
        raise TemplateError(f"{len(cells)} cells, not {len(names)}: {text!r}")
    words = dict(zip(names, cells, strict=True))
    fields: dict[str, tuple[Line, ...]] = {
        name: (parse_line(widen(cell) if len(cell.split()) >= _SENTENCE_WORDS else cell),)
        for name, cell in words.items()
    }
    return Case(fields, words, text.startswith("~"))


def _beat(text: str) -> Beat:
    """`name`, then `?` for optional, `+fact`, `-fact`, `>beat` that it says as well; `~kind` is an
    interlude, `=pool` shared."""
    name, *rest = text.split()
    return Beat(
        name,
        optional="?" in rest,
        interlude=name[1:] if name.startswith("~") else "",
        shared=name[1:] if name.startswith("=") else "",
        gains=frozenset(word[1:] for word in rest if word.startswith("+")),
        ends=frozenset(word[1:] for word in rest if word.startswith("-")),
        says=frozenset(word[1:] for word in rest if word.startswith(">")),
    )
