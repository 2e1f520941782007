"""Open plots: whoever and whatever is drawn, the story says who that is and comes back to it."""

from __future__ import annotations

import re
from functools import cache

from inference.corpus import grammar, open_plots, quality
from inference.corpus.draws import Draws
from inference.corpus.open_cast import ROOTED, things
from inference.corpus.story import Story
from inference.corpus.tables import load

COUNT = 400


@cache
def told() -> list[tuple[str, Story]]:
    plots = load("en").open_plots
    stories = []
    for number in range(COUNT):
        draws = Draws("open", number)
        stories.append(grammar._told("en", draws, plots[number % len(plots)], reserved=False))
    return stories


def test_the_vocabulary_is_wide() -> None:
    tables = load("en")
    assert len({thing.noun for thing in things("en", "")}) > 800
    assert len({kind for row in tables.rows["heroes"] for kind in row.items("kinds")}) > 450
    assert len({place for row in tables.rows["spots"] for place in row.items("places")}) > 200
    assert len({name for row in tables.rows["given"] for name in row.words("names")}) > 550
    adjectives = {*tables.pools["open adjective"], *tables.pools["open trait"]}
    assert len(adjectives) > 250
    assert len(tables.pools["open act"]) > 150
    assert len(tables.pools["open treat"]) > 100


def test_there_are_many_plots_and_beginnings() -> None:
    tables = load("en")
    assert len(tables.open_plots) >= 30
    hooks = [b for plot in tables.open_plots for b in plot.beats if b.name == "hook"]
    premises = [b for plot in tables.open_plots for b in plot.beats if b.name == "premise"]
    assert len(hooks) == len(premises) == len(tables.open_plots)
    assert all(len(premise.lines) >= 10 for premise in premises)
    beginnings = len(tables.pools["open begin"]) + sum(len(b.lines) for b in hooks + premises)
    assert beginnings >= 700


def test_half_of_the_stories_have_open_plots() -> None:
    opened = [grammar.tell("en", Draws("half", i))[1].cast["A"].world == "open" for i in range(300)]
    assert 110 < sum(opened) < 190


def test_a_thing_comes_back() -> None:
    """What a story is about is in its second half, too."""
    for text, story in told():
        if "seen" in story.facts:
            thing = story.kept["thing"].lower()
            assert thing in text[len(text) // 2 :].lower(), text


def test_length() -> None:
    lengths = sorted(len(text.split()) for text, _ in told())
    assert lengths[0] > 100
    assert lengths[COUNT // 50] > 130
    assert lengths[-1] < 380


def test_a_name_is_explained_and_people_are_introduced_once() -> None:
    for text, story in told():
        for person in story.cast.values():
            assert person.shown or person.name not in text, text
            if person.words["form"] == "named":
                said = text.lower().count(f"{person.kind} named {person.name}".lower())
                said += text.lower().count(f"{person.kind} called {person.name}".lower())
                assert said <= 2, text


def test_those_who_cannot_move_stay_where_they_are() -> None:
    for plot in load("en").open_plots:
        story = open_plots.set_out(load("en"), Draws("rooted", plot.name), plot)
        if "rooted" not in plot.words("hero"):
            assert ROOTED not in story.facts


def test_pronouns_of_things_are_it() -> None:
    for text, story in told():
        hero = story.cast["A"]
        if hero.gender == "n" and len(story.cast) == 1:
            assert not re.search(r"\b(?:he|she|his|her)\b", text), text


def test_open_stories_repeat_little_of_each_other() -> None:
    texts = [text for text, _ in told()]
    known = quality.Known(texts[: COUNT // 2])
    shares = [known.share(text) for text in texts[COUNT // 2 :]]
    assert sum(shares) / len(shares) < 0.16
