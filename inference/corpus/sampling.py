"""Stories sampled from models with this project's engine, and filtered.

A story depends on the seed, the source and its number: the engine runs in its deterministic mode,
where the company in which a request is computed changes nothing. What is kept depends on the files
before as well, since a story that is like an earlier one is refused; so files are made in order.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from inference.corpus import prompts
from inference.corpus.duplicates import Seen
from inference.corpus.files import Manifest, Story, is_held_out, read, write
from inference.corpus.filters import refusal
from inference.corpus.quality import repeated
from inference.corpus.recipe import TEACHER_BEGIN, CorpusError, Job, Recipe
from inference.errors import EngineError
from inference.offline import OfflineModel, run_to_end
from inference.options import EngineOptions
from inference.types import Delta, EngineEvent, Finished, GenerateRequest, ModelKind, SamplingParams

KINDS = {"teacher": ModelKind.COMPLETION, "chat": ModelKind.CHAT}
BATCH = {"cpu": 32, "cuda": 256}


def sample(
    manifest: Manifest,
    recipe: Recipe,
    source: str,
    directory: Path,
    planned: list[Job],
    progress: Callable[[int], None],
) -> None:
    """The files of a source that are not there yet. Raises CorpusError."""
    seen = Seen()
    writer: Writer | None = None
    for job in planned:
        if manifest.has(job):
            for split in ("train", "heldout"):
                for story in read(manifest.folder / job.file(split)):
                    seen.is_new(story.text)
        else:
            writer = writer or Writer(source, directory, recipe)
            manifest.add(job, _written(manifest.folder, job, writer, seen))
        progress(job.count)


def _written(folder: Path, job: Job, writer: Writer, seen: Seen) -> dict[str, dict[str, Any]]:
    split: dict[str, list[Story]] = {"train": [], "heldout": []}
    refused: Counter[str] = Counter()
    for index, texts in enumerate(writer.stories(job), start=job.first):
        text, why = best(texts)
        if why is None and not seen.is_new(text):
            why = "duplicate"
        if why is not None:
            refused[why] += 1
            continue
        name = f"{job.source}-{job.language}-{writer.recipe.seed}-{index:08}"
        held = "heldout" if is_held_out(text) else "train"
        split[held].append(Story(text, job.source, job.language, name))
    entries = {name: write(folder, job.file(name), lines) for name, lines in split.items()}
    entries["train"]["refused"] = dict(sorted(refused.items()))
    return entries


def best(texts: list[str | None]) -> tuple[str, str | None]:
    """Of several attempts the good one that repeats itself least, or why there is none. None
    stands for a text that the model did not bring to its end."""
    whys = ["cut off" if text is None else refusal(text) for text in texts]
    good = [text for text, why in zip(texts, whys, strict=True) if why is None and text is not None]
    if good:
        return min(good, key=repeated), None
    return "", whys[0]


class Writer:
    """A model that writes stories."""

    def __init__(self, source: str, directory: Path, recipe: Recipe) -> None:
        """Raises CorpusError."""
        _only_warnings()
        self.source, self.recipe = source, recipe
        self.sampling, self.attempts = recipe.sampling(source)
        try:
            self._model = OfflineModel(directory, KINDS[source], _options(directory))
        except EngineError as error:
            raise CorpusError(f"--{source} {directory}: {error.message}") from error

    def stories(self, job: Job) -> list[list[str | None]]:
        """All attempts at each story of a job, whole texts with their openings."""
        openings, requests = [], []
        for index in range(job.first, job.first + job.count):
            opening, ids = self._prompt(index)
            openings.append(opening)
            requests += [
                GenerateRequest(f"{index}-{n}", self.source, ids, self._seeded(index, n))
                for n in range(self.attempts)
            ]
        texts = self._texts(requests)
        return [
            [_story(opening, texts[f"{index}-{attempt}"]) for attempt in range(self.attempts)]
            for index, opening in enumerate(openings, start=job.first)
        ]

    def _prompt(self, index: int) -> tuple[str, tuple[int, ...]]:
        codec, seed = self._model.codec, self.recipe.seed
        if self.source == "teacher":
            opening = prompts.opening(seed, index)
            # Its tokens end with a space where a word follows: without one it thinks itself done.
            text = f"{TEACHER_BEGIN}{opening} "
            return opening, tuple(codec.encode(text, add_special_tokens=True))
        order = [{"role": "user", "content": prompts.order(seed, index)}]
        return "", tuple(codec.encode(codec.render(order, add_generation_prompt=True)))

    def _seeded(self, index: int, attempt: int) -> SamplingParams:
        seed = (self.recipe.seed * 1_000_000_007 + index) * 16 + attempt
        return SamplingParams(**self.sampling, seed=seed % 2**62)

    def _texts(self, requests: list[GenerateRequest]) -> dict[str, str | None]:
        """By request; None where the model did not end by itself. Raises CorpusError."""
        pieces: dict[str, list[str]] = {request.request_id: [] for request in requests}
        cut: set[str] = set()

        def collect(events: list[tuple[str, EngineEvent | EngineError]]) -> None:
            for name, event in events:
                if isinstance(event, EngineError):
                    raise CorpusError(f"The engine failed: {event.message}") from event
                if isinstance(event, Delta):
                    pieces[name].append(event.text)
                elif isinstance(event, Finished) and event.reason != "stop":
                    cut.add(name)

        run_to_end(self._model.engine, requests, collect)
        return {n: None if n in cut else "".join(parts) for n, parts in pieces.items()}


def _story(opening: str, text: str | None) -> str | None:
    if text is None:
        return None
    return prompts.tidy(f"{opening} {text}")


def _only_warnings() -> None:
    """The engine says each request: thousands of lines here."""
    logging.getLogger("inference").setLevel(logging.WARNING)
    if not structlog.is_configured():
        level = structlog.make_filtering_bound_logger(logging.WARNING)
        structlog.configure(wrapper_class=level)


def _options(directory: Path) -> EngineOptions:
    from inference.backend import choose_backend
    from inference.config import ModelConfig
    from inference.probe import probe

    device = choose_backend(probe()).name
    batch = BATCH[device]
    length = min(ModelConfig.load(directory).context_length, 1024)
    return EngineOptions(
        device=device,
        deterministic=True,
        reuse=False,
        max_batch=batch,
        kv_tokens=batch * length,
        step_tokens=max(512, 4 * batch),
        queue_limit=100_000,
    )
