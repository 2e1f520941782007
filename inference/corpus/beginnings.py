"""Beginnings that belong to no plot: the hero in the midst of any situation.

Whatever the first sentence says, the story is about its hero, by the same name, and what the
situation named comes up again near the end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from inference.corpus.draws import Draws
from inference.corpus.open_cast import things
from inference.corpus.story import Story
from inference.corpus.tables import load
from inference.corpus.templates import Line, alternatives, parse_line
from inference.corpus.words import drawn

# How many of the stories begin with a situation, and how many of the others with their premise.
SITUATIONS = 0.25
PREMISES = 0.6
_BRIDGED = 0.5
_ECHOED = 0.8
_NO_ECHO = "-"
# Who cannot go anywhere and has no hands, and who is a human being.
_UNABLE = frozenset(("rooted", "sky", "living"))
_HUMAN = frozenset(("child", "person", "grown"))
# Words that only a situation draws, from pools of these names.
_EXTRAS = ("caller", "beast", "meal")


@dataclass(frozen=True, slots=True)
class Situation:
    """kind: of what is named: "food", "place", "person", "animal", "thing", or a "sight" that can
    only be remembered; "" where nothing is to come up again."""

    text: str
    line: Line
    kind: str
    echo: tuple[Line, ...]


@lru_cache
def situations(language: str) -> tuple[Situation, ...]:
    """All of them. Raises TemplateError."""
    found = []
    for row in load(language).rows["situations"]:
        kind, _, echo = row["echo"].partition(" ")
        text = row["situation"]
        kind = kind.replace(_NO_ECHO, "")
        found.append(Situation(text, parse_line(text), kind, alternatives(echo)))
    return tuple(found)


def situation(story: Story) -> str:
    """The first sentences: a situation, who the hero is, and a bridge to the plot or none. Empty
    for a story that begins otherwise."""
    draws, pools = story.draws, story.tables.pools
    if not draws.chance(SITUATIONS):
        return ""
    hero = story.cast["A"]
    hero.shown = True
    _furnish(story)
    chosen = draws.pick(situations(story.tables.language))
    while not chosen.line.fits(story.facts) or _mentions(chosen, story):
        chosen = draws.pick(situations(story.tables.language))
    sentences = [story.tell((chosen.line,))]
    if story.kept["scene"] in sentences[0]:
        story.facts.add("spotted" if "open" in story.facts else "placed")
    if chosen.kind:
        story.kept["reminder"] = story.say(chosen.echo)
        story.facts |= {f"echo.{chosen.kind}"} | (
            {"echo.sight"} if chosen.kind == "thing" else set()
        )
    if hero.name.lower() not in sentences[0].lower():
        sentences.append(story.tell(pools["situation hero"]))
    after = [story.tell(pools["situation who"])] if hero.kind not in sentences[0] else []
    if draws.chance(_BRIDGED):
        after.insert(draws.below(2), story.tell(pools["situation bridge"]))
    return story.joined([*sentences, *after])


def echo(story: Story) -> str:
    """What the situation named, once more; mostly, and only where there is such a thing."""
    pool = story.tables.pools["situation echo"]
    if "reminder" not in story.kept or not story.draws.chance(_ECHOED):
        return ""
    story.name_all()
    return story.tell(pool)


def _mentions(chosen: Situation, story: Story) -> bool:
    """Whether it speaks of somebody like one of the cast: where the moon is the hero, the moon
    does not shine."""
    kinds = [person.kind for person in story.cast.values()]
    if story.tables.language == "zh":
        return any(kind.removeprefix("小") in chosen.text for kind in kinds)
    words = re.findall(r"\w+", chosen.text.lower())
    return any(kind.split()[-1].lower() in words for kind in kinds)


def _furnish(story: Story) -> None:
    """Facts and words that situations ask for. Nobody in them is of the kind of the cast."""
    draws, language = story.draws, story.tables.language
    world = story.cast["A"].words.get("world", story.cast["A"].world)
    story.facts |= {"able"} if world not in _UNABLE else set()
    story.facts |= {"human"} if world in _HUMAN else set()
    near = "open" in story.facts or "together" in story.facts
    if near and story.facts & {"B.friend", "B.sibling"}:
        story.facts.add("paired")
    taken = {person.kind for person in story.cast.values()} | set(story.kept.values())
    for name in _EXTRAS:
        story.kept[name] = story.say(story.tables.pools[f"situation {name}"])
        while story.kept[name] in taken:
            story.kept[name] = story.say(story.tables.pools[f"situation {name}"])
    story.kept |= _ware(draws, language, taken)
    if "open" in story.facts:
        scene = {word: story.kept[f"{word}spot"] for word in ("", "in", "to")}
    else:
        scene = {word: story.say(story.fields[f"{word}place"]) for word in ("", "in", "to")}
    story.kept |= {f"{word}scene": text for word, text in scene.items()}


def _ware(draws: Draws, language: str, taken: set[str]) -> dict[str, str]:
    """A thing that the plot is not about."""
    if language == "zh":
        return drawn(draws, language, "ware=things:small", dict.fromkeys(taken, ""))
    thing = draws.pick(things(language, "small"))
    while thing.noun in taken:
        thing = draws.pick(things(language, "small"))
    return {"ware": thing.noun}
