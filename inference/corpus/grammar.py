"""A story from the tables: who, where, a plot of causes and effects, a beginning and an end.

Story i of a seed depends on the seed, the language and i alone.
"""

from __future__ import annotations

from inference.corpus import beginnings, open_plots
from inference.corpus.beginnings import PREMISES
from inference.corpus.draws import Draws
from inference.corpus.people import Person, companion, hero
from inference.corpus.polish import POLISH
from inference.corpus.story import Story
from inference.corpus.tables import Beat, Case, Plot, Row, Tables, load
from inference.corpus.templates import alternatives
from inference.corpus.words import drawn

WEATHERS = {
    "spring": "sun sun rain wind cloud fog",
    "summer": "sun sun sun rain wind cloud",
    "autumn": "sun rain wind fog cloud",
    "winter": "snow snow sun cloud fog",
}
WORLDS = ("child", "animal", "robot", "dragon", "toy", "grown", "living")
_PLACE_FIELDS = ("place", "inplace", "toplace", "sense")
# Beats that a short story can do without: what somebody feels or thinks about the beat before.
# fmt: off
ASIDES = frozenset((
    "feel", "afraid", "fear", "shame", "sad", "upset", "think", "waver", "believed",
    "silence", "cheer", "applause", "effect", "happy", "bond", "almost", "laugh", "regret",
    "proud", "after", "talk", "night", "fly", "sea", "doubt", "alone",
))
# fmt: on
# Beats that only stories have which begin with them. A hook is in the middle of what happens; a
# premise says in a sentence or two who the hero is and what the story is about, as a person may
# begin who wants it told.
BEGINNINGS = frozenset(("hook", "premise"))
# How much of the optional beats, of interludes and of the frame a story has.
SIZES = (0.08, 0.35, 0.6, 0.95)
# How many of the stories have open plots, in a language that has them.
OPEN = 0.5
# How often a story of that size stops for a small detail between two beats.
PAUSES = dict(zip(SIZES, (0.0, 0.02, 0.04, 0.08), strict=True))


def write(language: str, seed: int, index: int, *, reserved: bool = False) -> str:
    """Story `index` of a seed. reserved: one with names and situations that no other story has.
    Raises TemplateError for a mistake in the tables."""
    return tell(language, Draws("grammar", language, seed, index, reserved), reserved=reserved)[0]


def tell(language: str, draws: Draws, *, reserved: bool = False) -> tuple[str, Story]:
    """The text of a story, and what it was told from."""
    tables = load(language)
    plots = tables.plots
    if tables.open_plots and not reserved and draws.chance(OPEN):
        plots = tables.open_plots
    if reserved:
        plots = tuple(plot for plot in plots if any(case.reserved for case in plot.cases))
    return _told(language, draws, draws.pick(plots), reserved=reserved)


def retell(plot: Plot, draws: Draws, language: str) -> str:
    """A story of one plot."""
    return _told(language, draws, plot, reserved=False)[0]


def _told(language: str, draws: Draws, plot: Plot, *, reserved: bool) -> tuple[str, Story]:
    # An open plot has no optional beats, and each leads to the next: none is an aside.
    size = draws.pick(SIZES[1:] if plot.open else SIZES)
    if plot.open:
        story = open_plots.set_out(load(language), draws, plot)
        begun = beginnings.situation(story) or open_plots.opening(story, plot)
        told = [begun, *_middle(story, plot, size), beginnings.echo(story)]
        told.append(open_plots.ending(story, " ".join(told)))
    else:
        story = _set_out(load(language), draws, plot, reserved)
        begun = "" if reserved else beginnings.situation(story)
        told = [begun or _opening(story, plot, size), *_middle(story, plot, size)]
        told.append(beginnings.echo(story))
        told.append(_ending(story, size, told))
    return POLISH[language](_laid_out(draws, language, [part for part in told if part])), story


def opening(language: str, draws: Draws) -> str:
    """The first paragraph of a story, for a model to go on from."""
    tables = load(language)
    plot = draws.pick(tables.plots)
    story = _set_out(tables, draws, plot, reserved=False)
    return POLISH[language](_opening(story, plot, draws.pick(SIZES)))


def subject(language: str, draws: Draws) -> tuple[str, str]:
    """Whom a story could be about and what happened: ("a shy fox named Pip", "Pip lost a drum")."""
    tables = load(language)
    plot = draws.pick([plot for plot in tables.plots if plot.head.get("gist")])
    story = _set_out(tables, draws, plot, reserved=False)
    story.cast["A"].shown = True
    story.ahead = True
    who = story.say(alternatives("a {trait} {A.kind} named {A.name}"))
    return POLISH[language](who), POLISH[language](story.say(story.fields["gist"]))


def _set_out(tables: Tables, draws: Draws, plot: Plot, reserved: bool) -> Story:
    cases = [case for case in plot.cases if case.reserved == reserved] or plot.cases
    case = draws.pick(cases) if cases else None
    worlds = plot.words("hero", "child child animal animal animal robot dragon")
    cast = {"A": hero(draws, tables, worlds, reserved=reserved)}
    trade = case.words.get("trade", "") if case else ""
    for role in "BC":
        if roles := plot.words(role):
            cast[role] = companion(draws, tables, roles, list(cast.values()), trade)
    story = Story(tables, draws, cast, case)
    season, weather, place = _setting(tables, draws, plot, cast["A"], case)
    story.put(place, _PLACE_FIELDS)
    story.facts |= {season, weather, *plot.words("theme"), *plot.words("facts"), *cast}
    story.facts |= {tag for tag in place.words("tags") if tag not in WORLDS}
    if not plot.words("apart"):
        story.facts.add("together")
    story.keep("home", cast["A"].words["home"])
    for want in plot.words("draw"):
        story.kept |= drawn(draws, tables.language, want, story.kept)
    for name in ("memory", "gist"):
        story.define(name, plot.head.get(name, ""))
    return story


def _setting(
    tables: Tables, draws: Draws, plot: Plot, who: Person, case: Case | None
) -> tuple[str, str, Row]:
    """A season, a weather of that season, and a place that suits the plot and its hero."""
    wanted = set(plot.words("place"))
    places = [row for row in tables.rows["places"] if wanted <= set(row.words("tags"))]
    place = draws.pick([row for row in places if who.world in row.words("tags")] or places)
    tags = place.words("tags")
    seasons = {"snow": ["winter"], "hot": ["summer"]}
    season = draws.pick(next((s for tag, s in seasons.items() if tag in tags), list(WEATHERS)))
    weather = draws.pick(WEATHERS[season].split())
    if "snow" in tags:
        weather = draws.pick(["snow", "sun", "cloud"])
    if allowed := (case.words.get("when", "").split() if case else []) or plot.words("weather"):
        weather = draws.pick(allowed)
        if weather == "snow":
            season = "winter"
        elif season == "winter" and weather == "rain":
            season = "autumn"
    return season, weather, place


def _opening(story: Story, plot: Plot, size: float) -> str:
    """Stories begin with who, with the sky, with a place, with their end, or in the middle."""
    draws, pools = story.draws, story.tables.pools
    hook, premise = plot.beat("hook"), plot.beat("premise")
    way = draws.below(10)
    story.ahead = True
    sentences = []
    story.cast["A"].shown = True  # every beginning says who A is
    if premise and draws.chance(PREMISES) and story.can_say(premise.lines):
        sentences.append(story.tell(premise.lines))
        story.happen(premise)
        if story.cast["A"].kind not in sentences[0] and draws.chance(0.4):  # said once
            sentences.append(story.tell(pools["intro after"]))
        story.ahead = False
        return story.joined(sentences)
    if hook and way < 3 and story.can_say(hook.lines):
        sentences.append(story.tell(hook.lines))
        sentences.append(story.tell(pools["intro after"]))
    elif plot.head.get("gist") and way == 3:
        story.facts.add("framed")
        sentences.append(story.tell(pools["gist first"]))
        sentences.append(story.tell(pools["intro after"]))
    elif "begin" in pools and 4 <= way < 8:
        sentences.append(story.tell(pools["begin"]))
    else:
        if way < 6:
            sentences.append(story.tell(pools["sky"]))
        sentences.append(story.tell(pools["intro"]))
    if draws.chance(size * 0.6) and "likes" not in story.kept:  # said once
        sentences.append(story.tell(pools["like"]))
    story.ahead = False
    return story.joined(sentences)


def _middle(story: Story, plot: Plot, size: float) -> list[str]:
    told = []
    for beat in plot.beats:
        if beat.name in BEGINNINGS:
            continue
        said = beat.name in story.said
        text = "" if said else _beat(story, beat, size, plot.words("apart"))
        story.happen(beat)
        if text:
            told.append(text)
            if beat is not plot.beats[-1] and story.draws.chance(
                PAUSES[size] / (2 if plot.open else 1)
            ):
                pause = story.tables.pools["open pause" if plot.open else "pause"]
                told.append(story.tell_aside(pause, plot.words("apart")))
    return told


def _beat(story: Story, beat: Beat, size: float, apart: list[str]) -> str:
    draws, pools = story.draws, story.tables.pools
    if beat.interlude:
        lines = pools[beat.interlude]
        return story.tell_aside(lines, apart) if draws.chance(size * 0.4) else ""
    lines = pools[beat.shared] if beat.shared else beat.lines
    skipped = beat.optional or (size == SIZES[0] and beat.name in ASIDES)
    if (skipped and not draws.chance(size)) or not story.can_say(lines):
        return ""
    return story.tell(lines)


def _ending(story: Story, size: float, told: list[str]) -> str:
    """A feeling, what was learned, the last words: each of them or not. A is named in the end."""
    draws, pools = story.draws, story.tables.pools
    sentences = []
    end = "".join(told)
    named = story.cast["A"].name in end[len(end) * 3 // 4 :]
    if not named or draws.chance(0.25 + size / 2):
        story.name_all()
        sentences.append(story.tell(pools["feel"]))
    if draws.chance(0.5) and story.can_say(pools["lesson"]):
        sentences.append(story.tell(pools["lesson"]))
    if "framed" in story.facts and draws.chance(0.6):
        sentences.append(story.tell(pools["gist last"]))
    elif draws.chance(0.2 + size / 2):
        sentences.append(story.tell(pools["last"]))
    return story.joined(sentences)


def _laid_out(draws: Draws, language: str, paragraphs: list[str]) -> str:
    """Beats become paragraphs of one to four beats, or one block. In some stories speech has
    paragraphs of its own."""
    gap = " " if language == "en" else ""
    if draws.chance(0.15):
        return gap.join(paragraphs)
    speech_apart = language == "en" and draws.chance(0.4)
    text, room = paragraphs[0], draws.below(3)
    for paragraph in paragraphs[1:]:
        if room <= 0 or (speech_apart and paragraph.startswith('"')):
            text += "\n\n" + paragraph
            room = 1 + draws.below(3)
        else:
            text += gap + paragraph
            room -= 1
    # Two quotations with nothing between them are never of the same speaker.
    return text.replace('" "', '"\n\n"') if speech_apart else text
