"""Characters: who they are, and the words for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from inference.corpus import invented
from inference.corpus.draws import Draws
from inference.corpus.tables import Row, Tables, load

_FORMS = ("he", "him", "his", "himself", "hers")
PRONOUNS = {
    "en": {
        "m": "he him his himself his",
        "f": "she her her herself hers",
        "n": "it it its itself its",
    },
    "zh": {"m": "他 他 他的 自己 他的", "f": "她 她 她的 自己 她的", "n": "它 它 它的 自己 它的"},
}
# Roles whose people come from the table of elders: relatives, neighbours, people with a trade.
ELDERS = ("kin", "elder", "expert")
# In the table of names: somebody who is called by what they are, such as "the fox".
NAMELESS = "*"
# Invented ones of which one is taken: enough that one does not begin like another of the cast.
_INVENTED = 8


@dataclass(slots=True)
class Person:
    """role: what somebody is to A, such as "friend". kind: what they are ("fox"). world: "child",
    "animal"… gender: m, f, or n. words: more words for them, such as "hands".
    shown: whether the story has said who this is."""

    role: str
    name: str
    kind: str
    world: str
    gender: str
    words: Mapping[str, str]
    shown: bool = False


def hero(draws: Draws, tables: Tables, worlds: Sequence[str], *, reserved: bool) -> Person:
    """reserved: with a name that only held-out stories have."""
    world = draws.pick(worlds)
    gender = draws.pick("mf")
    kind = draws.pick(_kinds(tables.language, world, gender))
    names = _names(tables.language, world, gender, reserved)
    return _person("hero", _given(draws, tables, names, gender, reserved=reserved), kind, gender)


def companion(
    draws: Draws, tables: Tables, roles: Sequence[str], cast: Sequence[Person], trade: str = ""
) -> Person:
    """Somebody beside the first of the cast, with a name and mostly a pronoun of their own.
    trade: what an expert does."""
    first, role = cast[0], draws.pick(roles)
    gender = draws.pick("mf")
    if first.gender in "mf" and draws.chance(0.8):  # so that a pronoun says who is meant
        gender = "f" if first.gender == "m" else "m"
    if role in ELDERS:
        return _elder(draws, tables, role, cast, gender, trade)
    kinds = _kinds(tables.language, first.world, gender)
    if first.world == "animal" and role == "sibling":
        kinds = [row for row in kinds if row["kind"] == first.kind]
        if not kinds:  # a hen has no brother
            return companion(draws, tables, ["friend"], cast, trade)
    elif first.world == "animal":
        taken = {person.kind for person in cast}
        kinds = [row for row in kinds if row["kind"] not in taken]
    names = [n for n in _names(tables.language, first.world, gender, False) if n != NAMELESS]
    if draws.chance(invented.SHARE):
        names = [invented.name(draws, tables.language, gender) for _ in range(_INVENTED)]
    return _person(role, _unlike(draws, names, cast), draws.pick(kinds), gender)


def _given(
    draws: Draws, tables: Tables, names: Sequence[str], gender: str, *, reserved: bool
) -> str:
    """One of the names, or one that nobody has had yet."""
    if reserved or not draws.chance(invented.SHARE):
        return draws.pick(names)
    return invented.name(draws, tables.language, gender)


def _person(role: str, name: str, kind: Row, gender: str) -> Person:
    if kind["gender"] == "n":
        gender = "n"
    if name == NAMELESS:
        name = kind["kind"]
    return Person(role, name, kind["kind"], kind["world"], gender, kind.cells)


def _unlike(draws: Draws, names: Sequence[str], cast: Sequence[Person]) -> str:
    """A name that does not begin like another one of the story: readers mix those up."""
    while True:
        name = draws.pick(names)
        if all(name != other.name and name[0] != other.name[0] for other in cast):
            return name


@lru_cache
def _kinds(language: str, world: str, gender: str) -> list[Row]:
    rows = load(language).rows["kinds"]
    return [r for r in rows if r["world"] == world and r["gender"] in (gender, "any", "n")]


@lru_cache
def _names(language: str, world: str, gender: str, reserved: bool) -> list[str]:
    rows = [row for row in load(language).rows["names"] if row.reserved == reserved]
    fit = [r for r in rows if world in r.words("worlds") and r["gender"] in (gender, "any")]
    return [name for row in fit for name in row.words("names")]


@lru_cache
def _elders(language: str, world: str, role: str) -> list[Row]:
    rows = load(language).rows["elders"]
    return [row for row in rows if world in row.words("worlds") and row["role"] == role]


def _elder(
    draws: Draws, tables: Tables, role: str, cast: Sequence[Person], gender: str, trade: str
) -> Person:
    world = cast[0].world
    if trade:
        role = "expert"
    elif role == "kin" and not _elders(tables.language, world, role):
        role = "elder"
    rows = _elders(tables.language, world, role)
    row = draws.pick([row for row in rows if row["gender"] in (gender, "any")] or rows)
    gender = row["gender"] if row["gender"] != "any" else gender
    title = row.items("titles")[0 if gender == "m" else -1]
    if "*" in title:
        title = title.replace("*", _unlike_last(draws, row.items("names"), cast))
    kind = trade or draws.pick(row.items("kind"))
    return Person(role, title, kind, world, "n" if row["pronoun"] == "n" else gender, row.cells)


def _unlike_last(draws: Draws, names: Sequence[str], cast: Sequence[Person]) -> str:
    while True:
        name = draws.pick(names)
        if all(name not in other.name for other in cast):
            return name


def pronoun(language: str, gender: str, form: str) -> str:
    return PRONOUNS[language][gender].split(" ")[_FORMS.index(form)]
