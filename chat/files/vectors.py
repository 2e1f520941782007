"""Vectors of files' passages, of the sentence model that is installed: computed when a file has
come, and kept beside it, so that a question has to have its own alone computed. Without such a
model there are none, and passages are found by their words."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from concurrent.futures import TimeoutError as Late
from functools import partial
from typing import TYPE_CHECKING

import structlog
from django.db import DatabaseError

from chat import engine
from chat.database import in_database, write_database
from chat.files.passages import cut
from chat.files.ranking import FusedRanker, Ranker, VectorRanker
from chat.models import File, FileVectors
from inference.errors import EngineError

if TYPE_CHECKING:
    from chat.files.ranking import Vector

MAX_PASSAGES = 2000
"""Of a file, about 600,000 tokens. A longer one is found by its words."""
PATIENCE_S = 20
"""How long an answer waits for the vector of a question."""

running: set[asyncio.Task[None]] = set()

_log = structlog.get_logger(__name__)


async def begin(file_id: uuid.UUID) -> None:
    """Have the vectors of a file computed, where that can be done and was not; who uploads it does
    not wait."""
    if await asyncio.to_thread(engine.sentence_models().names):
        task = asyncio.create_task(_keep(file_id))
        running.add(task)
        task.add_done_callback(running.discard)


async def _keep(file_id: uuid.UUID) -> None:
    try:
        model = await asyncio.to_thread(_model)
        if model is None:
            return
        passages = await in_database(_without, file_id, model.fingerprint)
        if not passages:
            return
        ids = await asyncio.to_thread(lambda: [model.clipped(text) for text in passages])
        found = await model.vectors(ids)
        lengths = (found**2).sum(1, keepdims=True) ** 0.5
        data = (found / lengths).astype("<f2").tobytes()
        await write_database(_write, file_id, model.fingerprint, len(passages), data)
    except (EngineError, DatabaseError, OSError) as error:
        _log.warning("file_vectors_failed", reason=str(error))  # it is found by its words


def _model() -> engine.SentenceModel | None:
    """With its fingerprint read. Raises ModelUnavailable and its subclasses, OSError."""
    model = engine.sentence_models().first()
    return model if model and model.fingerprint else None


def _without(file_id: uuid.UUID, model: str) -> list[str]:
    """The passages of a file that has no vectors of this model; none where it has, or has too many
    of them."""
    file = File.objects.filter(id=file_id).exclude(vectors__model=model).first()
    texts = _texts(file) if file else []
    return texts if len(texts) <= MAX_PASSAGES else []


def _write(file_id: uuid.UUID, model: str, passages: int, data: bytes) -> None:
    values = {"model": model, "passages": passages, "data": data}
    FileVectors.objects.update_or_create(file_id=file_id, defaults=values)


def _texts(file: File) -> list[str]:
    return [file.text[span.start : span.end] for span in cut(file.text, file.places)]


def ranker(files: Sequence[File], by_words: Ranker) -> Ranker:
    """By words and by vectors, as far as there are some. In a thread of the database."""
    try:
        model = _model() if files else None
        kept = _kept(files, model.fingerprint) if model else {}
    except (EngineError, OSError) as error:
        _log.warning("file_vectors_failed", reason=str(error))
        return by_words
    if not model or not kept:
        return by_words
    return FusedRanker(by_words, VectorRanker(kept, partial(_of_question, model)))


def _kept(files: Sequence[File], model: str) -> dict[str, Vector]:
    """By the passage's text."""
    import numpy as np

    found: dict[str, Vector] = {}
    by_id = {file.id: file for file in files}
    for row in FileVectors.objects.filter(file__in=by_id, model=model):
        texts = _texts(by_id[row.file_id])
        if row.passages == len(texts):  # else they were cut in another way
            numbers = np.frombuffer(bytes(row.data), "<f2").astype(np.float32)
            found |= zip(texts, numbers.reshape(len(texts), -1), strict=True)
    return found


def _of_question(model: engine.SentenceModel, question: str) -> Vector | None:
    if not question.strip():
        return None
    try:
        vector: Vector = model.submit([model.clipped(question)]).result(PATIENCE_S)[0]
    except (EngineError, Late) as error:
        _log.warning("question_vector_failed", reason=str(error))
        return None
    vector /= (vector**2).sum() ** 0.5
    return vector
