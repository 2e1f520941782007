"""Are vectors of the chat model of use to find passages? What docs/files.md says is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chat.files.ranking import Bm25Ranker, reciprocal_ranks
from inference.examination import MAX_EMBEDDED, Embedded, Embedding
from inference.offline import OfflineModel
from inference.options import EngineOptions
from inference.types import ModelKind
from tests.fixtures_models import chat_model_dir

__all__ = ["chat_model_dir"]
pytestmark = pytest.mark.real_engine

Array = np.ndarray[Any, np.dtype[Any]]
QUESTIONS = Path(__file__).with_name("passage_questions.json")


def questions() -> tuple[list[str], list[tuple[str, int]]]:
    """All passages, and questions with the place of the one that answers them."""
    passages: list[str] = []
    asked: list[tuple[str, int]] = []
    for document in json.loads(QUESTIONS.read_text("utf-8")):
        asked += [(text, len(passages) + place) for text, place in document["questions"]]
        passages += document["passages"]
    return passages, asked


def vectors(model: OfflineModel, texts: list[str]) -> Array:
    found: list[tuple[float, ...]] = []
    for first in range(0, len(texts), MAX_EMBEDDED):
        ids = [tuple(model.codec.encode(text)) for text in texts[first : first + MAX_EMBEDDED]]
        model.engine.examinations.add(1, Embedding(tuple(ids)))
        answers: list[Any] = []
        while not answers:
            answers += model.engine.examinations.proceed()
        ((_, answer),) = answers
        assert isinstance(answer, Embedded)
        found += answer.vectors
    return np.array(found)


def ranks(scores: Array) -> Array:
    """From 1 on, equals by place."""
    return np.argsort(np.argsort(-scores, kind="stable")) + 1


def cosines(one: Array, other: Array) -> Array:
    one, other = (each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (one, other))
    result: Array = one @ other.T
    return result


def fused(by_words: Array, by_vectors: Array) -> Array:
    # a cosine may be below zero, which would be no score
    orders = (reciprocal_ranks(each.tolist()) for each in (by_words, 2 + by_vectors))
    result: Array = np.sum([*orders], axis=0)
    return result


def mean_reciprocal_rank(scores: list[Array], right: list[int]) -> float:
    """What has no score is not found."""
    pairs = list(zip(scores, right, strict=True))
    return float(np.mean([1 / ranks(s)[place] if s[place] else 0.0 for s, place in pairs]))


def test_words_and_vectors_together_find_more_than_either(
    chat_model_dir: Path, record_property: Any
) -> None:
    passages, asked = questions()
    right = [place for _, place in asked]
    options = EngineOptions(device="cpu", threads=1, kv_tokens=2048)
    model = OfflineModel(chat_model_dir, ModelKind.CHAT, options)
    of_passages = vectors(model, passages)
    of_questions = vectors(model, [text for text, _ in asked])
    mean = of_passages.mean(0)
    ranker = Bm25Ranker()
    by_words = [np.array(ranker.scores(text, passages)) for text, _ in asked]
    by_vectors = list(cosines(of_questions - mean, of_passages - mean))
    both = [fused(*pair) for pair in zip(by_words, by_vectors, strict=True)]
    measured = [mean_reciprocal_rank(each, right) for each in (by_words, by_vectors, both)]
    record_property("MRR of words, vectors, both", measured)
    # as in docs/files.md; another machine adds up in another order
    assert measured == pytest.approx([0.37, 0.396, 0.535], abs=0.03)
