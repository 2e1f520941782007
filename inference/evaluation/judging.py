"""One evaluation from beginning to end: models, held-out texts and prompts in, findings out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from inference.evaluation.findings import Findings, short_log
from inference.evaluation.measures import (
    copied_shares,
    foresight,
    heldout_texts,
    judged_by,
    story_numbers,
    training_files,
)
from inference.evaluation.prompts import Prompts
from inference.evaluation.subject import Story, Subject
from inference.options import EngineOptions

Say = Callable[[str], None]


def judge(
    models: Mapping[str, Path],
    prompts: Prompts,
    *,
    without: Sequence[str],
    corpus: Path | None,
    judging: Path | None,
    characters: int,
    seed: int,
    options: EngineOptions,
    say: Say,
) -> Findings:
    """The first of the models is the one that it is about; it tells stories in all languages of
    the prompts, the others in English. Raises EngineError, TrainingError."""
    findings = Findings(seed=seed, judge=judging.name if judging else "", without=[*without])
    findings.held = prompts.held
    languages = {language_of(name) for name in prompts.texts}
    texts = heldout_texts(corpus, languages, characters) if corpus else {}
    for index, (name, directory) in enumerate(models.items()):
        subject = Subject(name, directory, options)
        findings.models[name] = {"parameters": subject.parameters, "vocab": subject.vocab}
        findings.trained[name] = short_log(directory.resolve().parent)
        say(f"{name}: reading held-out texts")
        findings.foresight[name] = {s: foresight(subject, its) for s, its in texts.items()}
        say(f"{name}: telling stories")
        findings.stories[name] = {
            which: subject.tell(its, seed)
            for which, its in prompts.texts.items()
            if index == 0 or language_of(which) == "en"
        }
    _measure(findings, corpus, say)
    if judging:
        say(f"{judging.name}: reading the stories")
        _let_judge(findings, Subject("judge", judging, options))
    return findings


def language_of(prompts: str) -> str:
    """Of a list, such as `outside-en`."""
    return prompts.rpartition("-")[2]


def _measure(findings: Findings, corpus: Path | None, say: Say) -> None:
    told: dict[str, Sequence[Story]] = {
        f"{name} {which}": stories
        for name, its in findings.stories.items()
        for which, stories in its.items()
    }
    copied: dict[str, float] = {}
    if corpus:
        say("Looking for the stories' 8-grams in the training text")
        copied = copied_shares(told, training_files(corpus))
    for name, its in findings.stories.items():
        findings.numbers[name] = {
            which: story_numbers(stories, language_of(which), copied.get(f"{name} {which}"))
            for which, stories in its.items()
        }


def _let_judge(findings: Findings, judge: Subject) -> None:
    for name, its in findings.stories.items():
        for which, stories in its.items():
            if language_of(which) == "en":
                findings.numbers[name][which]["judged"] = judged_by(judge, stories)
