"""Open plots: a hero, a thing and a place of any kind, a beginning of any kind, and what follows.

What the first sentences name comes back to the end: a reader can rely on it, and a model learns to.
"""

from __future__ import annotations

from inference.corpus.beginnings import PREMISES
from inference.corpus.draws import Draws
from inference.corpus.open_cast import Thing, person, things
from inference.corpus.story import Story
from inference.corpus.tables import Plot, Tables

WEATHERS = ("sun", "rain", "wind", "cloud", "fog", "snow", "heat", "storm")
# Words that are drawn once for a story, from pools of the same name.
_KEPT = ("act", "act2", "noise", "wish", "fear", "treat")
# What a hero calls the thing: the first mention describes it, whichever line that is.
_THING = {
    "ao": "a {oadj} {thing}",
    "fullo": "a {oadj} {thing} with {mark} / a {oadj} {thing} that had {mark}",
    "o": "(seen) the {thing} / (seen) the {thing} / (seen) the {thing} / (seen) the {thing} / "
    "(seen) the {oadj} {thing} / (!seen) {fullo}",
    "ao2": "(!seen2) a {oadj2} {thing2} / (seen2) the {thing2} / (seen2) the {thing2} / "
    "(seen2) the {oadj2} {thing2}",
    "myo": "(seen) {his} {thing} / (seen) the {thing} / (!seen) {his} {oadj} {thing} with {mark}",
}


def set_out(tables: Tables, draws: Draws, plot: Plot) -> Story:
    """A cast, a thing, two places and the words of a story."""
    cast = {"A": person(draws, tables, "hero", [], rooted="rooted" in plot.words("hero"))}
    for role in "BC":
        if roles := plot.words(role):
            cast[role] = person(draws, tables, draws.pick(roles), list(cast.values()))
    story = Story(tables, draws, cast, draws.pick(plot.cases) if plot.cases else None)
    story.pronouns = 0.3
    hero = cast["A"]
    hero.shown = True
    story.keep("home", hero.words["home"])
    story.facts |= {hero.words["form"], hero.words["world"], *cast, *plot.words("theme")}
    story.facts |= {draws.pick(plot.words("weather") or WEATHERS), *plot.words("facts")}
    _furnish(story, plot)
    return story


def _furnish(story: Story, plot: Plot) -> None:
    draws, tables = story.draws, story.tables
    kinds = [person.kind for person in story.cast.values()]
    first = _unlike(draws, things(tables.language, plot.head.get("thing", "small")), kinds)
    second = _unlike(draws, things(tables.language, "small"), [*kinds, first.noun])
    for suffix, thing in (("", first), ("2", second)):
        story.keep(f"thing{suffix}", thing.noun)
        story.keep(f"use{suffix}", thing.use)
        story.keep(f"where{suffix}", thing.where)
    for name, text in _THING.items():
        story.define(name, text)
    places = story.tables.rows["spots"]
    for suffix in ("", "2"):
        row = draws.pick(places)
        place = draws.pick([p for p in row.items("places") if p != story.kept.get("spot")])
        story.keep(f"spot{suffix}", place)
        story.keep(f"inspot{suffix}", f"{row['in']} {place}")
        story.keep(f"tospot{suffix}", f"{row['to']} {place}")
        story.facts |= set(row.words("tags")) if not suffix else set()
    mark = draws.pick(tables.rows["marks"])
    story.keep("mark", mark["mark"])
    story.keep("themark", mark["short"])
    for name, pool in (("oadj", "open adjective"), ("oadj2", "open adjective")):
        story.kept[name] = story.say(tables.pools[pool])
    for name in _KEPT:
        story.kept[name] = story.say(tables.pools["open " + name.rstrip("2")])


def _unlike(draws: Draws, known: list[Thing], taken: list[str]) -> Thing:
    while True:
        thing = draws.pick(known)
        if thing.noun not in taken:
            return thing


def opening(story: Story, plot: Plot) -> str:
    """In the middle of what happens, or with whatever a writer may begin with."""
    draws, pools = story.draws, story.tables.pools
    hook, premise = plot.beat("hook"), plot.beat("premise")
    if premise and draws.chance(PREMISES) and story.can_say(premise.lines):
        text = story.tell(premise.lines)
        story.happen(premise)
        return text
    if hook and draws.chance(0.4):
        text = story.tell(hook.lines)
        for person in story.cast.values():
            if person.words["form"] == "nameless" and person.name in text.lower():
                person.shown = True  # "the kettle" says who that is
        return story.joined([text, *_who(story)])
    if draws.chance(0.35) and story.can_say(pools["open sky"]):
        return story.joined([story.tell(pools["open sky"]), story.tell(pools["open begin"])])
    return story.tell(pools["open begin"])


def _who(story: Story) -> list[str]:
    """After a beginning that did not say who the hero is."""
    if "named" in story.facts or story.draws.chance(0.2):
        return [story.tell(story.tables.pools["open who"])]
    return []


def ending(story: Story, told: str) -> str:
    """The hero is named in the end, and nobody comes who was not there before."""
    draws, pools = story.draws, story.tables.pools
    story.facts -= {role for role, person in story.cast.items() if not person.shown}
    sentences = []
    story.name_all()
    named = story.cast["A"].name.lower() in told[len(told) * 3 // 4 :].lower()
    if not named or draws.chance(0.3):
        sentences.append(story.tell(pools["open feel"]))
    if draws.chance(0.15) and story.can_say(pools["lesson"]):
        sentences.append(story.tell(pools["lesson"]))
    if "seen" in story.facts and story.kept["thing"] not in told[len(told) * 2 // 3 :]:
        sentences.append(story.tell(pools["open last thing"]))
    elif draws.chance(0.75) or not sentences:
        of_thing = "seen" in story.facts and draws.chance(0.25)
        sentences.append(story.tell(pools["open last thing" if of_thing else "open last"]))
    return story.joined(sentences)
