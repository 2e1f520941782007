"""Who and what an open plot is about: heroes of any kind, and things with a description.

An open plot works for whoever is drawn. A hero has a name and a kind ("a kettle named Bo"), a kind
alone ("the kettle"), or a name alone ("Bo").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from inference.corpus import invented
from inference.corpus.draws import Draws
from inference.corpus.people import Person
from inference.corpus.tables import Row, Tables, load

# Whose name alone says enough.
CHILD = "child"
# Those who cannot go anywhere: only some plots suit them.
ROOTED = "rooted"
AGES = frozenset(("old", "young", "little", "small", "tiny", "wrinkled", "big"))
_FORMS = ("named", "named", "named", "nameless", "nameless", "nameless", "kindless")


@dataclass(frozen=True, slots=True)
class Thing:
    """use: a verb and what follows it ("boil water"). where: where such things are kept."""

    noun: str
    use: str
    where: str


@lru_cache
def things(language: str, tag: str) -> list[Thing]:
    """Those of the table that have a tag; of all of them for an empty one."""
    found = []
    for row in load(language).rows["things"]:
        if tag in row.words("tags") or not tag:
            for item in row.items("things"):
                noun, _, use = item.partition(":")
                found.append(Thing(noun, use, row["where"]))
    return found


def person(
    draws: Draws, tables: Tables, role: str, cast: Sequence[Person], *, rooted: bool = False
) -> Person:
    """Somebody who is unlike the others of the cast. rooted: whether it may be somebody who cannot
    go anywhere."""
    row, kind = _kind(draws, tables.language, [other.kind for other in cast], rooted)
    form = draws.pick(_FORMS)
    world = row["world"]
    if cast and cast[0].words["form"] == "nameless":
        form = "nameless"  # a name would seem to be the hero's
    elif form == "kindless" and (role != "hero" or world != CHILD):
        form = "named"
    gender = _gender(draws, row, form, cast)
    trait = _trait(draws, tables, world)
    name = f"the {kind}"
    words = {"home": row["home"], "form": form, "call": kind}
    a_kind = f"a {trait} {kind}"
    words |= {"intro": a_kind, "was": a_kind, "the": f"the {trait} {kind}"}
    if form != "nameless":
        name = _name(draws, tables.language, world, gender, [other.name for other in cast])
        words |= {"intro": f"{a_kind} {draws.pick(('named', 'called'))} {name}"}
        words |= {"call": name, "the": name}
    if form == "kindless":
        words |= {"intro": name}
    return Person(role, name, kind, "open", gender, {**words, "world": world})


def _trait(draws: Draws, tables: Tables, world: str) -> str:
    """An adjective. A word for an age may contradict the kind of a person (a young grandfather)."""
    while True:
        trait = str(draws.pick(tables.pools["open trait"]).parts[0])
        if trait not in AGES or world not in (CHILD, "person"):
            return trait


def _kind(draws: Draws, language: str, taken: Sequence[str], rooted: bool) -> tuple[Row, str]:
    rows = load(language).rows["heroes"]
    while True:
        row = draws.pick(rows)
        kind = draws.pick(row.items("kinds"))
        if kind not in taken and (rooted or row["world"] != ROOTED):
            return row, kind


def _gender(draws: Draws, row: Row, form: str, cast: Sequence[Person]) -> str:
    """Mostly unlike that of the first of the cast, so that a pronoun says who is meant."""
    if row["gender"] != "any":
        return row["gender"]
    if form == "nameless" and row["world"] in ("thing", "sky", ROOTED):
        return "n"
    if cast and cast[0].gender in "mf" and draws.chance(0.9):
        return "f" if cast[0].gender == "m" else "m"
    return draws.pick("mf")


def _name(draws: Draws, language: str, world: str, gender: str, taken: Sequence[str]) -> str:
    names = _names(language, "person" if world in ("child", "person") else "thing", gender)
    is_new = draws.chance(invented.SHARE)
    while True:
        name = invented.name(draws, language, gender) if is_new else draws.pick(names)
        if all(name[0] != other[0] for other in taken):
            return name


@lru_cache
def _names(language: str, world: str, gender: str) -> list[str]:
    rows = load(language).rows["given"]
    fit = [row for row in rows if row["world"] == world and row["gender"] in (gender, "any")]
    return [name for row in fit for name in row.words("names")]
