"""Makes the files of a corpus: the grammar's in many processes, those of models one by one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

from inference.corpus import grammar, tables
from inference.corpus.files import Manifest, Story, is_held_out, write
from inference.corpus.recipe import RESERVED, CorpusError, Job, Recipe
from inference.corpus.templates import TemplateError

Entries = dict[str, dict[str, Any]]
Progress = Callable[[int], None]
# The source of held-out stories with names and situations that no story for training has: how well
# they are foreseen says what a model does with the unknown, so they are counted apart.
UNSEEN = "grammar-new"


def versions() -> dict[str, str]:
    """Of the grammar's tables, by language."""
    return {f"grammar-{language}": tables.load(language).version for language in tables.LANGUAGES}


def make(
    manifest: Manifest, recipe: Recipe, planned: list[Job], processes: int, progress: Progress
) -> None:
    """The grammar's files that are not there yet. progress: told how many stories were done.
    Raises CorpusError."""
    missing = []
    for job in planned:
        if manifest.has(job):
            progress(job.count)
        else:
            missing.append(job)
    for job, entries in _done(manifest.folder, recipe.seed, missing, processes):
        manifest.add(job, entries)
        progress(job.count)


def _done(
    folder: Path, seed: int, missing: list[Job], processes: int
) -> Iterator[tuple[Job, Entries]]:
    if processes == 1 or len(missing) == 1:
        for job in missing:
            yield job, write_grammar(folder, seed, job)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(missing) or 1), mp_context=context) as pool:
        running: dict[Future[Entries], Job] = {}
        try:
            running = {pool.submit(write_grammar, folder, seed, job): job for job in missing}
            while running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def write_grammar(folder: Path, seed: int, job: Job) -> Entries:
    """Both files of a job of the grammar. Raises CorpusError."""
    try:
        split = {"train": list[Story](), "heldout": list[Story]()}
        for story in grammar_stories(seed, job):
            held = is_held_out(story.text) or "-new-" in story.id
            split["heldout" if held else "train"].append(story)
    except TemplateError as error:
        raise CorpusError(f"A table of the grammar has a mistake: {error}") from error
    return {name: write(folder, job.file(name), lines) for name, lines in split.items()}


def grammar_stories(seed: int, job: Job) -> Iterator[Story]:
    """In order; then those with names and situations that are kept for held-out stories."""
    for index in range(job.first, job.first + job.count):
        text = grammar.write(job.language, seed, index)
        yield Story(text, "grammar", job.language, f"grammar-{job.language}-{seed}-{index:08}")
    for index in range(job.first // RESERVED, (job.first + job.count) // RESERVED):
        text = grammar.write(job.language, seed, index, reserved=True)
        yield Story(text, UNSEEN, job.language, f"grammar-{job.language}-{seed}-new-{index:06}")
