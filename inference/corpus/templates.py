"""The language of the phrase tables.

    (rain,!night) {A} [ran|hurried] home. {He} was {cold}.

`[a|b]` is one of two, `{A}` a slot that the story fills, and the words in parentheses before a
line are facts that must hold (`!`: must not) for the line to be used. A slot that begins with a
capital is filled with one (`{He}`); `{=food}` is drawn once and kept for the story; `{say:B}`
is a pool whose `{X}` is B.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

PRONOUNS = ("he", "him", "his", "himself", "hers")
_ROLE = re.compile(r"[ABCX]")
_NEEDS = re.compile(r"\(([!\w,. ]+)\) ")


class TemplateError(ValueError):
    """A phrase table that cannot be read: the message names the text."""


@dataclass(frozen=True, slots=True)
class Slot:
    """role: A, B, C or X for a character, whose `name` is then the form of it ('' for the usual
    one); otherwise `name` is a field of the story or a pool. of: who X is in that pool."""

    name: str
    role: str = ""
    capital: bool = False
    kept: bool = False
    of: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    options: tuple[tuple[Part, ...], ...]


Part: TypeAlias = str | Slot | Choice
Parts: TypeAlias = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One way to say something, and the facts that it needs and bars."""

    parts: Parts
    needs: frozenset[str] = frozenset()
    bars: frozenset[str] = frozenset()

    def fits(self, facts: Collection[str]) -> bool:
        return all(n in facts for n in self.needs) and not any(b in facts for b in self.bars)


def parse_line(text: str) -> Line:
    """Raises TemplateError."""
    match = _NEEDS.match(text)
    if not match:
        return Line(parse(text))
    words = [word.strip() for word in match[1].split(",")]
    needs = frozenset(word for word in words if not word.startswith("!"))
    bars = frozenset(word[1:] for word in words if word.startswith("!"))
    return Line(parse(text[match.end() :]), needs, bars)


@cache
def alternatives(text: str) -> tuple[Line, ...]:
    """The lines of `a / b / c`. Raises TemplateError."""
    return tuple(parse_line(item.strip()) for item in text.split(" / ") if item.strip())


class Thesaurus:
    """Phrases that may stand for one another, wherever a table has them outside of slots. A phrase
    in small letters is found with a capital, too; one without others is left as it is, and so are
    the shorter ones in it."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._others: dict[str, tuple[str, ...]] = {}
        for line in lines:
            phrase, _, others = line.partition(" = ")
            self._others[phrase] = tuple(others.split(" / ")) if others else ()
        longest_first = sorted(self._others, key=lambda phrase: (-len(phrase), phrase))
        words = "|".join(map(_either_case, longest_first))
        # Chinese has no spaces: a phrase is one wherever it stands
        spaced = "".join(longest_first).isascii()
        edge, end = (r"(?<![\w'])", r"(?![\w'])") if spaced else ("", "")
        self._find = re.compile(rf"\{{[^}}]*\}}|{edge}(?:{words}){end}" if words else r"(?!)")

    def widen(self, text: str) -> str:
        """The text with choices in place of the phrases that have others. A slot stays as it is."""
        return self._find.sub(self._choice, text)

    def _choice(self, found: re.Match[str]) -> str:
        phrase = found[0]
        others = self._others.get(phrase)
        if others is None:
            others = self._others.get(phrase[:1].lower() + phrase[1:], ())
            others = tuple(other[:1].upper() + other[1:] for other in others)
        return f"[{'|'.join((phrase, *others))}]" if others else phrase


def _either_case(phrase: str) -> str:
    first = phrase[0]
    return (
        rf"[{first}{first.upper()}]{re.escape(phrase[1:])}"
        if first.islower()
        else re.escape(phrase)
    )


def parse(text: str) -> Parts:
    """Raises TemplateError for brackets that do not match."""
    options, end = _options(text, 0)
    if end != len(text) or len(options) != 1:
        raise TemplateError(f"brackets that do not match, or a | outside of them: {text!r}")
    return options[0]


def _options(text: str, at: int) -> tuple[list[Parts], int]:
    """The alternatives from `at` to the bracket that closes them, or to the end of the text."""
    options: list[Parts] = []
    parts: list[Part] = []
    while at < len(text) and text[at] != "]":
        if text[at] == "|":
            options.append(tuple(parts))
            parts, at = [], at + 1
        elif text[at] == "[":
            inner, at = _options(text, at + 1)
            if at >= len(text):
                raise TemplateError(f"a [ that is never closed: {text!r}")
            parts.append(Choice(tuple(inner)))
            at += 1
        elif text[at] == "{":
            end = text.find("}", at)
            if end < 0:
                raise TemplateError(f"a {{ that is never closed: {text!r}")
            parts.append(_slot(text[at + 1 : end]))
            at = end + 1
        else:
            match = re.compile(r"[^\[\]|{]+").match(text, at)
            assert match
            parts.append(match[0])
            at = match.end()
    return [*options, tuple(parts)], at


def _slot(name: str) -> Slot:
    if name.lower() in PRONOUNS:
        return Slot(name.lower(), "A", name[0].isupper())
    head, _, form = name.partition(".")
    if _ROLE.fullmatch(head):
        return Slot(form.lower(), head, form[:1].isupper())
    if ":" in name:
        pool, _, role = name.partition(":")
        return Slot(pool.lower(), "", pool[0].isupper(), of=role)
    kept = name.startswith("=")
    name = name.removeprefix("=")
    if not name:
        raise TemplateError("a slot without a name: {}")
    return Slot(name[0].lower() + name[1:], "", name[0].isupper(), kept)
