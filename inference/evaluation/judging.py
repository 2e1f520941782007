"""One evaluation from beginning to end: models, held-out texts and prompts in, findings out."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from inference.evaluation.measures import (
    copied_shares,
    foresight,
    heldout_texts,
    judged_by,
    story_numbers,
    training_texts,
)
from inference.evaluation.report import Findings
from inference.evaluation.subject import Story, Subject
from inference.options import EngineOptions

Say = Callable[[str], None]
PROMPTS = Path(__file__).with_name("prompts.toml")
# The first word of what comes next: no model is to take a beginning for a whole story.
_GOES_ON = {"en": " Then", "zh": "后来"}


def prompts(languages: Sequence[str], count: int) -> dict[str, list[str]]:
    """At most so many beginnings of each language, always the same ones."""
    table = tomllib.loads(PROMPTS.read_text(encoding="utf-8"))
    return {
        language: [text + _GOES_ON[language] for text in table[language][:count]]
        for language in languages
    }


def judge(
    models: Mapping[str, Path],
    *,
    corpus: Path | None,
    judging: Path | None,
    beginnings: Mapping[str, Sequence[str]],
    characters: int,
    seed: int,
    options: EngineOptions,
    say: Say,
) -> Findings:
    """The first of the models is the one that it is about; it tells stories in all languages of
    `beginnings`, the others in English. Raises EngineError, TrainingError."""
    findings = Findings(seed=seed, judge=judging.name if judging else "")
    texts = heldout_texts(corpus, beginnings, characters) if corpus else {}
    for index, (name, directory) in enumerate(models.items()):
        subject = Subject(name, directory, options)
        findings.models[name] = {"parameters": subject.parameters, "vocab": subject.vocab}
        say(f"{name}: reading held-out texts")
        findings.foresight[name] = {s: foresight(subject, its) for s, its in texts.items()}
        say(f"{name}: telling stories")
        findings.stories[name] = {
            language: subject.tell(its, seed)
            for language, its in beginnings.items()
            if index == 0 or language == "en"
        }
    _measure(findings, corpus, say)
    if judging:
        say(f"{judging.name}: reading the stories")
        _let_judge(findings, Subject("judge", judging, options))
    return findings


def _measure(findings: Findings, corpus: Path | None, say: Say) -> None:
    told: dict[str, Sequence[Story]] = {
        f"{name} {language}": stories
        for name, its in findings.stories.items()
        for language, stories in its.items()
    }
    copied: dict[str, float] = {}
    if corpus:
        say("Looking for the stories' 8-grams in the training text")
        copied = copied_shares(told, training_texts(corpus))
    for name, its in findings.stories.items():
        findings.numbers[name] = {
            language: story_numbers(stories, copied.get(f"{name} {language}"))
            for language, stories in its.items()
        }


def _let_judge(findings: Findings, judge: Subject) -> None:
    for name, its in findings.stories.items():
        for language, stories in its.items():
            if language == "en":
                findings.numbers[name][language]["judged"] = judged_by(judge, stories)
