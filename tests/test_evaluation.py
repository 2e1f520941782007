"""Judging models: numbers with known answers, and the whole command on tiny models."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest
import torch
from django.core.management import CommandError, call_command

from inference.evaluation.blind import tally, write_pairs
from inference.evaluation.judging import prompts
from inference.evaluation.measures import copied_shares, foresight, story_numbers
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


def test_copied_8grams_are_counted_word_for_word() -> None:
    copied = "one two three four five six seven eight"
    new = "one two three four five six seven nine"
    corpus = [f"before {copied.upper()} after", "another text"]
    shares = copied_shares({"a": [story(copied), story(new)], "b": [story(new)]}, corpus)
    assert shares == {"a": 0.5, "b": 0.0}


def test_numbers_of_stories() -> None:
    loop = story("the dog ran to the dog ran to the dog ran to.", ended=False)
    good = story(" Lily saw a big red ball. Lily was happy.")
    numbers = story_numbers([loop, good], copied=0.25)
    assert numbers["copied_8grams"] == 0.25
    assert numbers["end_well"] == 0.5
    assert 0 < numbers["repeated_4grams"] < 1
    assert story_numbers([loop], None)["distinct_2_within"] < numbers["distinct_2_within"]
    # a second story that says the same adds nothing new
    once, twice = (story_numbers([good] * n, None)["distinct_2_across"] for n in (1, 2))
    assert twice == pytest.approx(once / 2)


def test_prompts_are_fixed_and_differ() -> None:
    found = prompts(["en", "zh"], 100)
    assert [len(set(its)) for its in found.values()] == [100, 20]
    assert prompts(["en"], 3)["en"] == found["en"][:3]


def test_blind_pairs_hide_who_wrote_what(tmp_path: Path) -> None:
    ours, theirs = ([story(f" {who} {n}") for n in range(12)] for who in ("ours", "theirs"))
    write_pairs(tmp_path, ("mine", "other"), (ours, theirs), seed=3)
    pairs = json.loads((tmp_path / "key.json").read_text())["pairs"]
    text = (tmp_path / "pairs.md").read_text()
    assert "mine" not in text
    assert "other" not in text
    assert {pair["A"] for pair in pairs.values()} == {"mine", "other"}
    for number, part in enumerate(text.split("\n## ")[1:], start=1):
        first = "ours" if pairs[str(number)]["A"] == "mine" else "theirs"
        assert f"Lily ran. {first} " in part.split("**B**")[0]

    best = {"ours": "mine", "theirs": "other"}["ours"]
    side = {n: "A" if pair["A"] == best else "B" for n, pair in pairs.items()}
    lines = [f"{n} {side[n]}" for n in side]
    verdicts = tmp_path / "verdicts.txt"
    verdicts.write_text("\n".join([*lines[:10], "11 =", "", "12: " + side["12"].lower()]))
    assert tally(verdicts) == {"mine": 11, "other": 0, "=": 1}

    for wrong, complaint in (
        (lines[:5], "not judged yet: 6, 7, 8, 9, 10, 11, 12"),
        ([*lines, "1 A"], "pair 1 is judged twice"),
        (["13 A"], "'13 A' is not a pair's number"),
        (["1 C"], "'1 C' is not a pair's number"),
    ):
        verdicts.write_text("\n".join(wrong))
        with pytest.raises(TrainingError, match=complaint):
            tally(verdicts)


def training_run(folder: Path) -> Path:
    """The log of one that ended."""
    rows = [
        {"event": "begin", "parameters": 10, "precision": "bf16", "recipe": RECIPE, "machine": GPU},
        {"event": "step", "step": 9, "tokens": 600, "loss": 1.5, "tokens_per_s": 10},
        {"event": "heldout", "step": 9, "tokens": 600, "sources": {"s-en": {"bits_per_byte": 1.2}}},
    ]
    folder.mkdir()
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.real_engine
def test_the_command_writes_a_report_a_card_and_pairs(
    model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_tiny_llama(tmp_path / "other", context=64, seed=1, chat=False)
    run = training_run(tmp_path / "run")
    facts = tmp_path / "facts.toml"
    facts.write_text("".join(f'{k} = "the {k}"\n' for k in FACTS))
    shared = {"reference": [other], "corpus": corpus, "judge": other, "prompts": 2}
    call_command(
        "evaluate", str(model), name="run", runs=[run], output=tmp_path / "report",
        card=tmp_path / "card.md", facts=facts, languages=["en", "zh"], device="cpu", **shared,
    )  # fmt: skip
    text = (tmp_path / "report/README.md").read_text()
    for part in ("| s-en | run |", "| s-en | other |", "## Stories (zh)", "as other sees", "1.200"):
        assert part in text
    numbers = json.loads((tmp_path / "report/report.json").read_text())
    assert numbers["foresight"]["run"]["s-en"]["bits_per_byte"] > 1
    assert set(numbers["stories"]["other"]) == {"en"}
    assert numbers["stories"]["run"]["en"]["copied_8grams"] == 0
    for picture in ("numbers.png", "sizes.png"):
        assert (tmp_path / "report" / picture).read_bytes().startswith(b"\x89PNG")
    card = (tmp_path / "card.md").read_text()
    assert all(f"the {fact}" in card for fact in FACTS)
    assert "1.0 minutes on H100 × 1" in card

    call_command(
        "evaluate",
        str(model),
        reference=[other],
        blind_pairs=2,
        output=tmp_path / "b",
        device="cpu",
    )
    (tmp_path / "b/verdicts").write_text("1 =\n2 =\n")
    call_command("evaluate", verdicts=tmp_path / "b/verdicts")
    assert "no difference: 2" in capsys.readouterr().out


def test_the_command_says_what_is_missing(model: Path, tmp_path: Path) -> None:
    for arguments, complaint in (
        ({}, "Name the folder of a model"),
        ({"model": model, "blind_pairs": 3}, "needs one --reference and --output"),
        ({"model": tmp_path / "none", "output": tmp_path}, "config.json"),
        ({"model": model, "reference": [model], "output": tmp_path}, "called the same: mine, mine"),
    ):
        with pytest.raises(CommandError, match=complaint):
            call_command("evaluate", device="cpu", **arguments)


RECIPE = {"size": "1m", "batch_tokens": 60, "optimizer": "adamw", "learning_rate": 1e-3}
RECIPE |= {"schedule": "cosine"}
GPU = {"device": "H100", "processes": 1}
FACTS = ("title", "about", "data", "limits", "licence")
