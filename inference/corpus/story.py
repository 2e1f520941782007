"""One story while it is told: who is in it, what holds, and how a phrase becomes text."""

from __future__ import annotations

from collections.abc import Sequence

from inference.corpus.draws import Draws
from inference.corpus.people import Person, pronoun
from inference.corpus.tables import Beat, Case, Row, Tables
from inference.corpus.templates import (
    Choice,
    Line,
    Parts,
    Slot,
    TemplateError,
    alternatives,
)

# What a slot tells the reader: from then on it holds.
_TELLS = {"place": "placed", "inplace": "placed", "toplace": "placed", "oneday": "dated"}
_TELLS |= {"ao": "seen", "fullo": "seen", "o": "seen", "myo": "seen"}
_TELLS |= {"spot": "spotted", "inspot": "spotted", "tospot": "spotted", "act": "acted"}
_TELLS |= {"treat": "treated", "ao2": "seen2"}


class Story:
    """facts: what holds now; lines ask for them, beats change them. kept: words that were drawn
    for the whole story."""

    def __init__(self, tables: Tables, draws: Draws, cast: dict[str, Person], case: Case | None):
        self.tables, self.draws, self.cast = tables, draws, cast
        self.fields: dict[str, tuple[Line, ...]] = dict(case.fields) if case else {}
        self.facts: set[str] = set()
        self.said: set[str] = set()  # beats of which nothing more is to be told
        self.kept: dict[str, str] = {}
        self.pronouns = 0.5  # how often one is used where it is clear
        self.ahead = False  # whether what is told now comes before its time: names suffice
        self._about: list[Person] = []
        self._now: list[Person] = []  # who this sentence has named or meant, and the one before
        self._before: list[Person] = []
        for role, person in cast.items():
            self.facts |= {f"{role}.{person.role}", f"{role}.{person.gender}"}
        self.facts.add(cast["A"].world)
        if cast["A"].name == cast["A"].kind:
            self.facts.add("nameless")
        if "B" not in cast or cast["B"].gender != cast["A"].gender:
            self.facts.add("clear")  # a pronoun means one of them only

    def put(self, row: Row, names: Sequence[str]) -> None:
        """Make cells of a row fields of the story; of `a / b` one is drawn whenever it is asked."""
        for name in names:
            self.fields[name] = alternatives(row[name])

    def define(self, name: str, text: str) -> None:
        """A phrase of the plot as a field."""
        self.fields[name] = alternatives(text)

    def keep(self, name: str, items: str) -> None:
        """One of `a / b`, for the whole story."""
        self.kept[name] = self.say(alternatives(items))

    def joined(self, sentences: Sequence[str]) -> str:
        return (" " if self.tables.language == "en" else "").join(sentences)

    def tell(self, lines: Sequence[Line]) -> str:
        """One of the lines that fit, as the next sentences of the story. Raises TemplateError where
        none does."""
        self._before, self._now = self._now, []
        text = self.say(lines)
        return text[:1].upper() + text[1:]

    def name_all(self) -> None:
        """Whoever comes next is named, and not meant by a pronoun."""
        self._now = []

    def tell_aside(self, lines: Sequence[Line], apart: Sequence[str]) -> str:
        """Something small between two beats. Who was in the last one is near, if the plot does not
        say that they are apart."""
        near = {f"near.{r}" for r, p in self.cast.items() if p in self._now and r not in apart}
        self.facts |= near
        text = self.tell(lines)
        self.facts -= near
        return text

    def say(self, lines: Sequence[Line]) -> str:
        """One of the lines that fit, as part of a sentence. Raises TemplateError likewise."""
        return self.text(self.choose(lines).parts)

    def choose(self, lines: Sequence[Line]) -> Line:
        for _ in range(12):  # most lines fit: trying is faster than asking all
            line = self.draws.fresh(lines)
            if line.fits(self.facts):
                return line
        fitting = [line for line in lines if line.fits(self.facts)]
        if not fitting:
            raise TemplateError(f"no line fits {sorted(self.facts)}: {lines}")
        return self.draws.pick(fitting)

    def can_say(self, lines: Sequence[Line]) -> bool:
        return any(line.fits(self.facts) for line in lines)

    def happen(self, beat: Beat) -> None:
        self.facts |= beat.gains
        self.facts -= beat.ends
        self.said |= beat.says

    def text(self, parts: Parts) -> str:
        out: list[str] = []
        self._render(parts, out)
        return "".join(out)

    def _render(self, parts: Parts, out: list[str]) -> None:
        for index, part in enumerate(parts):
            if isinstance(part, str):
                out.append(part)
            elif isinstance(part, Choice):
                self._render(self.draws.pick(part.options), out)
            elif part.role and not part.name:
                owned = parts[index + 1] if index + 1 < len(parts) else ""
                is_owner = isinstance(owned, str) and owned.startswith("'s ")
                word = self._named(part.role, first=index == 0 and not is_owner)
                before = str(parts[index - 1]) if index > 0 else ""
                after_speech = before.endswith('" ') and not before.endswith('," ')
                out.append(word[:1].upper() + word[1:] if after_speech else word)
            else:
                word = self._slot(part)
                out.append(word[:1].upper() + word[1:] if part.capital else word)

    def _slot(self, slot: Slot) -> str:
        if slot.role:
            return self._person_word(slot.role, slot.name)
        if slot.of:
            return self._of(slot)
        if slot.name in ("hand", "hands", "feet"):
            return self.cast["A"].words[slot.name]
        if slot.name in _TELLS:
            word = self._word(slot)
            self.facts.add(_TELLS[slot.name])
            return word
        return self._word(slot)

    def _word(self, slot: Slot) -> str:
        if slot.name in self.kept:
            return self.kept[slot.name]
        if slot.name in self.fields:
            return self.say(self.fields[slot.name])
        word = self.say(self._pool(slot.name))
        if slot.kept:
            self.kept[slot.name] = word
        return word

    def _of(self, slot: Slot) -> str:
        """A pool about one person; `B.name` is somebody whom the next words introduce."""
        role, _, form = slot.of.partition(".")
        person = self._who(role)
        shown, person.shown = person.shown, person.shown or form == "name"
        self._about.append(person)
        word = self.say(self._pool(slot.name))
        self._about.pop()
        person.shown = shown or not form
        return word

    def _pool(self, name: str) -> tuple[Line, ...]:
        try:
            return self.tables.pools[name]
        except KeyError as error:
            raise TemplateError(f"nothing is called {name!r}") from error

    def _who(self, role: str) -> Person:
        if role == "X":
            return self._about[-1]
        try:
            return self.cast[role]
        except KeyError as error:
            raise TemplateError(f"nobody is {role}") from error

    def _person_word(self, role: str, form: str) -> str:
        person = self._who(role)
        if form == "kind":
            return person.kind
        if form == "intro":
            person.shown = True
        if form in person.words:
            return person.words[form]
        if form == "name" and not person.shown and not self.ahead:
            return self._introduced(person)
        self._now.append(person)
        return person.name if form == "name" else pronoun(self.tables.language, person.gender, form)

    def _named(self, role: str, *, first: bool) -> str:
        """A person as the story calls them here: introduced once, then by name, or by a pronoun
        at the beginning of a sentence where it cannot mean anybody else."""
        person = self._who(role)
        if not person.shown:
            return self._introduced(person)
        clear = first and self._is_clear(person) and self.draws.chance(self.pronouns)
        self._now.append(person)
        return pronoun(self.tables.language, person.gender, "he") if clear else person.name

    def _is_clear(self, person: Person) -> bool:
        recent = [*self._before, *self._now]
        return person in recent and not any(
            other.gender == person.gender and other is not person for other in recent
        )

    def _introduced(self, person: Person) -> str:
        """Nobody comes from nowhere: the first time says who this is."""
        person.shown = True
        self._now.append(person)
        world = person.world if person.role not in ("kin", "expert") else ""
        pool = f"{person.role} {world}".strip()
        self._about.append(person)
        text = self.say(self._pool(pool if pool in self.tables.pools else person.role))
        self._about.pop()
        return text
