"""Judging models: numbers with known answers, and the whole command on tiny models."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest
import torch
from django.core.management import CommandError, call_command

from inference.evaluation.blind import WORDS, shown, tally, write_pairs
from inference.evaluation.measures import copied_shares, foresight, story_numbers
from inference.evaluation.prompts import (
    choose,
    grammar_texts,
    known_words,
    unknown_words,
)
from inference.evaluation.subject import Story, Subject
from inference.options import EngineOptions
from inference.training.errors import TrainingError
from inference.training.model_files import load_model
from tests.tiny_llama import write_tiny_llama
from tests.training_runs import one_thread, short_stories

__all__ = ["one_thread"]

ENGINE = EngineOptions(device="cpu", threads=1, kv_tokens=1024, max_batch=4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models") / "mine"
    return write_tiny_llama(directory, context=64, dtype="float16", chat=False)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for split, texts in (("train", short_stories(20)), ("heldout", ["A cat sat.", "狗。"])):
        rows = [
            {"text": t, "source": "s", "language": "en", "id": str(i)} for i, t in enumerate(texts)
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"s-en-{split}-00000.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    return folder


def story(text: str, *, ended: bool = True) -> Story:
    return Story("Lily ran.", text, len(text), ended)


@pytest.mark.real_engine
def test_a_text_is_foreseen_as_the_training_model_does(model: Path) -> None:
    """Also one that is longer than the context: each token once, with half a window before it."""
    subject = Subject("mine", model, ENGINE)
    text = "once upon a time a cat sat on a mat. " * 4
    ids = subject.begun(text)
    assert len(ids) > 100
    assert ids[0] in subject.codec.eos_ids
    with torch.no_grad():
        logits = load_model(model).logits
        expected = 0.0
        for place in range(1, len(ids)):
            begin = 0 if place < 64 else (place - 32) // 32 * 32
            window = torch.tensor([ids[begin:place]])
            row = logits(window)[0, -1].log_softmax(-1)
            expected -= row[ids[place]].item()
    loss, count = subject.loss(text)
    assert count == len(ids) - 1
    assert loss == pytest.approx(expected, rel=2e-3)

    numbers = foresight(subject, [text])
    assert numbers["bits_per_byte"] == pytest.approx(loss / len(text) / math.log(2))
    assert numbers["per_token"] == pytest.approx(math.exp(loss / count))
    assert numbers["per_character"] == pytest.approx(math.exp(loss / len(text)))


@pytest.mark.real_engine
def test_a_story_is_the_same_in_any_company(model: Path) -> None:
    subject = Subject("mine", model, ENGINE)
    beginnings = ["once", "a cat", "the dog"]
    together = subject.tell(beginnings, seed=7)
    assert [s.prompt for s in together] == beginnings
    assert subject.tell(beginnings[1:2], seed=8)[0].text == together[1].text
    assert all(s.text for s in together)


def test_copied_8grams_are_counted_word_for_word(tmp_path: Path) -> None:
    copied = "one two three four five six seven eight"
    new = "one two three four five six seven nine"
    files = [tmp_path / "s-train-0.txt", tmp_path / "s-train-1.txt"]
    files[0].write_text("another text<|endoftext|>a third")
    files[1].write_text(f"before {copied.upper()} after<|endoftext|>the end")
    told = {"a": [story(copied), story(new)], "b": [story(new)]}
    assert copied_shares(told, files) == {"a": 0.5, "b": 0.0}
    # in processes of their own too, where there is more to read
    files[0].write_text("far. " * 300_000 + "<|endoftext|>away")
    assert copied_shares(told, files) == {"a": 0.5, "b": 0.0}


def test_numbers_of_stories() -> None:
    loop = story("the dog ran to the dog ran to the dog ran to.", ended=False)
    good = story(" Lily saw a big red ball. Lily was happy.")
    numbers = story_numbers([loop, good], "en", copied=0.25)
    assert numbers["copied_8grams"] == 0.25
    assert numbers["end_well"] == 0.5
    assert 0 < numbers["repeated_4grams"] < 1
    assert story_numbers([loop], "en", None)["distinct_2_within"] < numbers["distinct_2_within"]
    # a second story that says the same adds nothing new
    once, twice = (story_numbers([good] * n, "en", None)["distinct_2_across"] for n in (1, 2))
    assert twice == pytest.approx(once / 2)


def test_prompts_are_fixed_and_differ() -> None:
    found = choose(["en", "zh"])
    sizes = {"general-en": 100, "outside-en": 100, "general-zh": 20, "outside-zh": 20}
    assert {name: len(set(its)) for name, its in found.texts.items()} == sizes
    fewer = choose(["en"], most=3)
    assert fewer.texts["general-en"] == found.texts["general-en"][:3]
    assert all(new <= of for new, of in found.held.values())
    assert "*" not in "".join(found.texts["outside-zh"])


def test_an_outside_prompt_is_one_of_which_a_word_is_known_nowhere() -> None:
    prompt = "Gwendolyn's zeppelin was stolen."
    marked = "*宇航员*打开舱门。"
    known = known_words({"en": [prompt], "zh": [marked]}, ["It was STOLEN.", "打开。宇航"])
    assert unknown_words(prompt, "en", known) == {"zeppelin"}  # a name is none
    assert unknown_words(marked, "zh", known) == {"宇航员"}
    known = known_words(
        {"en": [prompt], "zh": [marked]}, ["two Zeppelins", "it was stolen", "一个宇航员"]
    )
    assert not unknown_words(prompt, "en", known)
    assert not unknown_words(marked, "zh", known)


def test_enough_outside_prompts_are_outside_of_the_grammar() -> None:
    assert len(grammar_texts(["en"])) > 10
    held = choose(["en", "zh"]).held
    assert held["outside-en"][0] >= 100
    assert held["outside-zh"][0] >= 20


@pytest.fixture
def pairs(tmp_path: Path) -> dict[str, dict[str, str]]:
    ours, theirs = ([story(f" {who} {n}.") for n in range(12)] for who in ("ours", "theirs"))
    write_pairs(tmp_path, ("mine", "other"), (ours, theirs), seed=3)
    found: dict[str, dict[str, str]] = json.loads((tmp_path / "key.json").read_text())["pairs"]
    return found


def test_blind_pairs_hide_who_wrote_what(pairs: dict[str, dict[str, str]], tmp_path: Path) -> None:
    text = (tmp_path / "pairs.md").read_text()
    assert "mine" not in text
    assert "other" not in text
    assert {pair["A"] for pair in pairs.values()} == {"mine", "other"}
    for number, part in enumerate(text.split("\n## ")[1:], start=1):
        first = "ours" if pairs[str(number)]["A"] == "mine" else "theirs"
        assert f"**A** … {first} " in part.split("**B**")[0]
    with pytest.raises(TrainingError, match="has pairs already"):
        write_pairs(tmp_path, ("mine", "other"), ([], []), seed=4)


def test_what_is_shown_of_a_story_does_not_tell_models_apart() -> None:
    assert shown(" He said “no”.\n\nShe left.") == 'He said "no". She left.'
    assert shown("One. Two. Three is c") == "One. Two."
    long = " ".join(f"{n}." for n in range(WORDS + 9))
    assert shown(long) == " ".join(f"{n}." for n in range(WORDS))
    assert shown("no end at all") == "no end at all"


def test_verdicts_are_counted_by_the_key(pairs: dict[str, dict[str, str]], tmp_path: Path) -> None:
    side = {n: "A" if pair["A"] == "mine" else "B" for n, pair in pairs.items()}
    head = ["reader: Mia", "date: 2026-11-28"]
    lines = [f"{n} {side[n]} it ends" for n in side]
    verdicts = tmp_path / "verdicts.txt"
    good = [*head, *lines[:10], "11 = both loop", "", f"12 {side['12'].lower()} it ends"]
    verdicts.write_text("\n".join(good))
    reading = tally(verdicts)
    assert reading.counts == {"mine": 11, "other": 0, "=": 1}
    assert (reading.reader, reading.date, reading.file) == ("Mia", "2026-11-28", "verdicts.txt")

    for wrong, complaint in (
        ([*head, *lines[:5]], "not judged yet: 6, 7, 8, 9, 10, 11, 12"),
        ([*head, *lines, "1 A because"], "pair 1 is judged twice"),
        (["13 A because"], "'13 A because' is not the number of a pair"),
        (["1 C because"], "'1 C because' is not the number of a pair"),
        (["1 A"], "'1 A' is not the number of a pair, then A, B or =, and then a reason"),
        (lines, "a line 'reader: …' is missing"),
        ([head[0], *lines], "a line 'date: …' is missing"),
        (["date: yesterday"], "'yesterday' is no day such as 2026-01-31"),
    ):
        verdicts.write_text("\n".join(wrong))
        with pytest.raises(TrainingError, match=complaint):
            tally(verdicts)
    verdicts.write_text("\n".join(good))
    with (tmp_path / "pairs.md").open("a") as file:
        file.write("more")
    with pytest.raises(TrainingError, match="is not the file that was drawn"):
        tally(verdicts)


def training_run(folder: Path) -> Path:
    """The log of one that ended."""
    rows = [
        {"event": "begin", "parameters": 10, "precision": "bf16", "recipe": RECIPE, "machine": GPU},
        {"event": "step", "step": 9, "tokens": 600, "loss": 1.5, "tokens_per_s": 10},
        {"event": "heldout", "step": 9, "tokens": 600, "sources": {"s-en": {"bits_per_byte": 1.2}}},
    ]
    folder.mkdir(exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.real_engine
def test_the_command_writes_a_report_a_card_and_pairs(
    model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_tiny_llama(tmp_path / "other", context=256, seed=1, chat=False)
    run = training_run(tmp_path / "run")
    write_tiny_llama(run / "model", context=256, seed=2, chat=False)
    out, card, blind = tmp_path / "report", tmp_path / "card.md", tmp_path / "blind"
    call_command(
        "evaluate", str(run / "model"), reference=[other], without=[f"chat={run}"], corpus=corpus,
        judge=other, prompts=2, sizes=[run], output=out, card=card, blind=blind,
        languages=["en", "zh"], device="cpu",
    )  # fmt: skip
    text = (out / "README.md").read_text()
    for part in ("| s-en | run |", "| s-en | other |", "outside the grammar (Chinese)", "1.200"):
        assert part in text
    for part in ("as other sees", "| without chat | 9 | 600 |", "| at most 20% |", "## In short"):
        assert part in text
    numbers = json.loads((out / "report.json").read_text())
    assert numbers["foresight"]["run"]["s-en"]["bits_per_byte"] > 1
    assert set(numbers["stories"]["other"]) == {"general-en", "outside-en"}
    assert numbers["numbers"]["run"]["outside-en"]["copied_8grams"] == 0
    assert "keep_characters" not in numbers["numbers"]["run"]["general-zh"]
    for picture in ("general-en.png", "outside-zh.png", "sizes.png"):
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
    assert "1.0 minutes on H100 × 1" in card.read_text()
    assert "## Licence" in card.read_text()

    lines = ["reader: Mia", "date: 2026-11-28", "1 = both are noise", "2 = both are noise"]
    (blind / "verdicts.txt").write_text("\n".join(lines))
    call_command("evaluate", verdicts=[blind / "verdicts.txt"], output=out)
    assert "Mia: no difference: 2" in capsys.readouterr().out
    later = (out / "README.md").read_text()
    assert "| Mia | 2026-11-28 | 0 | 0 | 2 | verdicts.txt |" in later
    assert text.split("## Side by side")[1] == later.split("## Side by side")[1]


def test_the_command_says_what_is_missing(model: Path, tmp_path: Path) -> None:
    for arguments, complaint in (
        ({}, "Name the folder of a model"),
        ({"model": model, "blind": tmp_path}, "--blind needs a --reference"),
        ({"model": tmp_path / "none", "output": tmp_path}, "config.json"),
        ({"model": model, "reference": [model], "output": tmp_path}, "called the same: mine, mine"),
        ({"model": model, "without": ["chat"], "output": tmp_path}, "write SOURCE=RUN"),
        ({"model": model, "sizes": [tmp_path], "output": tmp_path}, "has no steps"),
        ({"verdicts": [tmp_path / "none"]}, "cannot be read"),
    ):
        with pytest.raises(CommandError, match=complaint):
            call_command("evaluate", device="cpu", **arguments)


RECIPE = {"size": "1m", "batch_tokens": 60, "optimizer": "adamw", "learning_rate": 1e-3}
RECIPE |= {"schedule": "cosine"}
GPU = {"device": "H100", "processes": 1}
