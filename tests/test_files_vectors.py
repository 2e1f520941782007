"""Passages by words and by vectors, which are kept beside the file, or are not there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chat import engine
from chat.database import in_database
from chat.files import vectors
from chat.files.passages import cut
from chat.files.ranking import Bm25Ranker, FusedRanker, VectorRanker, reciprocal_ranks
from chat.models import File, FileVectors
from inference import sentence_models
from tests import document_files as made
from tests.fake_engine import FakeEngine, prompt_text
from tests.test_files_api import ask, upload
from tests.tiny_sentences import write_json, write_sentence_model

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

BEGINNINGS = (
    "Bread is baked in a hot oven until its crust is brown.",
    "The river runs through the valley to the sea.",
    "A violin has four strings, tuned in fifths.",
    "Trains leave from the station every hour.",
    "Volcanoes throw ashes into the sky; chess is a game of kings.",
    "Clouds are drops of water, and harbours hold ships.",
)
WITNESSES = ("one neighbour", "an old book", "a newspaper", "many people")
PAGES = [
    f"{beginning} {f'That is what {witness} said. ' * 4}"
    for witness in WITNESSES
    for beginning in BEGINNINGS
]
NOTHING_SHARED = "tuning stringed violins"


@pytest.fixture
def site(site: FakeEngine, settings: Any, tmp_path: Path) -> FakeEngine:
    """With a sentence model."""
    write_sentence_model(tmp_path / "tiny")
    settings.TINYLLM_MODELS_DIR = tmp_path
    return site


async def uploaded(pages: list[str] = PAGES) -> dict[str, Any]:
    """With all that follows an upload."""
    told = await upload("long.pdf", made.pdf(*pages))
    await asyncio.gather(*vectors.running)
    return told


def shown(site: FakeEngine) -> set[int]:
    """Pages that the model read last."""
    lines = [x for x in prompt_text(site.requests[-1]).splitlines() if x.startswith("<source")]
    return {int(line.rpartition("page ")[2].rstrip('">')) for line in lines}


async def test_vectors_are_kept_beside_the_file(site: FakeEngine, tmp_path: Path) -> None:
    await uploaded()
    row = await FileVectors.objects.select_related("file").aget()
    texts = [row.file.text[span.start : span.end] for span in cut(row.file.text, row.file.places)]
    sentences = engine.sentence_models().first()
    assert sentences
    assert (row.model, row.passages) == (sentences.fingerprint, len(PAGES))
    kept = np.frombuffer(bytes(row.data), "<f2").reshape(len(PAGES), -1)
    clipped = await sentences.vectors([sentences.clipped(text) for text in texts])
    np.testing.assert_allclose(kept, clipped, atol=1e-3)


async def test_a_passage_is_found_that_shares_no_word(site: FakeEngine) -> None:
    file = await uploaded()
    text = (await File.objects.aget()).text
    assert not any(Bm25Ranker().scores(NOTHING_SHARED, [text]))
    await ask(file, NOTHING_SHARED)
    ranker = await in_database(lambda: vectors.ranker([File.objects.get()], Bm25Ranker()))
    scores = await in_database(ranker.scores, NOTHING_SHARED, [p.strip() for p in PAGES])
    best = {index + 1 for index in np.argsort(scores)[::-1][: len(shown(site))]}
    assert shown(site) == best != set(range(1, len(best) + 1))


async def test_the_file_may_go_before_its_vectors_come(site: FakeEngine) -> None:
    await upload("long.pdf", made.pdf(*PAGES))
    await File.objects.all().adelete()
    await asyncio.gather(*vectors.running)
    assert await FileVectors.objects.acount() == 0


async def test_the_same_file_again_gets_them_once(
    site: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentence_models, "find_spec", lambda _: None)
    first = await uploaded()
    assert await FileVectors.objects.acount() == 0
    monkeypatch.undo()
    assert (await uploaded())["id"] == first["id"]
    row = await FileVectors.objects.aget()
    monkeypatch.setattr(vectors, "_write", None)
    await uploaded()
    assert (await FileVectors.objects.aget()).pk == row.pk


async def test_later_questions_look_for_words_alone(site: FakeEngine) -> None:
    file = await uploaded()
    told = await ask(file, "Volcanoes and chess?")
    before = prompt_text(site.requests[-1]).count("<source")
    again = {"session_id": told["session_id"], "files": []}
    await ask(file, NOTHING_SHARED, **again)
    assert prompt_text(site.requests[-1]).count("<source") == before > 0


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
async def test_a_broken_model_leaves_the_words(site: FakeEngine, tmp_path: Path, name: str) -> None:
    write_json(tmp_path / "tiny" / name, {})
    file = await uploaded()
    await ask(file, "Volcanoes and chess?")
    assert shown(site) == {5, 11, 17, 23}
    assert await FileVectors.objects.acount() == 0


async def test_too_long_a_file_has_none(site: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "MAX_PASSAGES", len(PAGES) - 1)
    await uploaded()
    assert await FileVectors.objects.acount() == 0


def test_two_orders_are_joined() -> None:
    assert reciprocal_ranks([0, 2, 5, 2]) == [0, 1 / 62, 1 / 61, 1 / 63]
    north, east = np.array([0, 1], np.float32), np.array([1, 0], np.float32)
    known = {"rivers": east, "bread": north, "loaf": north}
    by_vectors = VectorRanker(known, lambda question: north if question else None)
    passages = ["rivers", "bread", "loaf", "unknown"]
    assert by_vectors.scores("bread", passages) == [2, 3, 3, 0]
    assert by_vectors.scores("", passages) == [0] * 4
    assert VectorRanker({}, lambda _: north).scores("bread", passages) == [0] * 4
    both = FusedRanker(Bm25Ranker(), by_vectors).scores("loaf", passages)
    assert sorted(range(4), key=lambda index: -both[index]) == [2, 1, 0, 3]
    assert FusedRanker(Bm25Ranker(), by_vectors).scores("", []) == []
