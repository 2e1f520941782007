"""Sentence models: the vectors that transformers makes, and what is refused instead of guessed."""

from __future__ import annotations

import importlib.util
import json
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from inference import sentence_models
from inference.catalogue import Catalogue
from inference.errors import (
    InvalidParameter,
    ModelInvalid,
    ModelNotGenerative,
    ModelUnavailable,
    QueueFull,
    UnsupportedArchitecture,
)
from inference.model_store import ModelStore
from inference.sentence_models import MAX_BATCH_TOKENS, SentenceModel, SentenceModels, batches
from tests.tiny_sentences import (
    CONFIGS,
    LENGTH,
    TEXTS,
    modules,
    peer_vectors,
    write_json,
    write_sentence_model,
)

pytestmark = pytest.mark.real_engine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_sentence_model(tmp_path / "tiny")


def model(folder: Path) -> SentenceModel:
    found = SentenceModels(folder.parent).get(folder.name)
    assert found
    return found


async def encoded(folder: Path, texts: list[str]) -> Any:
    its = model(folder)
    return await its.vectors([its.encode(text) for text in texts])


@pytest.mark.parametrize("kind", CONFIGS)
async def test_vectors_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    folder = write_sentence_model(tmp_path / "tiny", kind=kind)
    texts = [*TEXTS, "brown " * 12]
    found = await encoded(folder, texts)
    np.testing.assert_allclose(found, peer_vectors(folder, texts).numpy(), atol=1e-5)


async def test_the_first_token_alone_and_no_norm(tmp_path: Path) -> None:
    folder = write_sentence_model(tmp_path / "tiny", pooling="cls_token", normalizes=False)
    found = await encoded(folder, list(TEXTS))
    lengths = np.linalg.norm(found, axis=1)
    assert (abs(lengths - 1) > 0.1).all()
    peer = peer_vectors(folder, list(TEXTS), pooling="cls").numpy()
    np.testing.assert_allclose(found / lengths[:, None], peer, atol=1e-5)


def test_a_batch_is_bounded_with_its_padding() -> None:
    texts = [[0] * size for size in (512, 3, 500, 2, *[64] * 100)]
    found = list(batches(texts))
    assert sorted(chain(*found)) == list(range(len(texts)))
    sizes = [max(len(texts[each]) for each in batch) * len(batch) for batch in found]
    assert sizes == [MAX_BATCH_TOKENS, 38 * 64, 2 * 512]


def test_a_long_text_is_clipped_where_that_is_asked(folder: Path) -> None:
    its = model(folder)
    long = its.encode("bread " * 100)
    assert (its.context_length, len(long)) == (LENGTH, 102)
    assert its.clipped("bread " * 100) == [*long[: LENGTH - 1], long[-1]]
    assert its.clipped("bread") == its.encode("bread")


@pytest.mark.parametrize(
    ("seen", "told", "length"),
    [(None, None, 66), (None, 1e30, 66), (None, 32, 32), (48, 1e30, 48), (256, 512, 66)],
)
def test_the_shortest_length_holds(folder: Path, seen: Any, told: Any, length: int) -> None:
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": seen})
    write_json(folder / "tokenizer_config.json", {"model_max_length": told})
    assert model(folder).context_length == length


async def test_a_token_that_there_is_not(folder: Path) -> None:
    with pytest.raises(InvalidParameter, match="below the vocabulary"):
        await model(folder).vectors([[1, 99_999]])


async def test_what_waits_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_models, "MAX_WAITING", 0)
    with pytest.raises(QueueFull, match="0 batches"):
        await model(folder).vectors([[1]])


NOT_MODELS = ("empty", "none", "", "../tiny", ".partial", "x" * 300, "a\0b")


def test_it_is_known_by_its_folder_and_writes_nothing(folder: Path) -> None:
    (folder.parent / "empty").mkdir()
    (folder.parent / ".partial").mkdir()
    models = SentenceModels(folder.parent)
    assert models.names() == ["tiny"]
    assert models.get("tiny") is models.first() is not None
    assert [models.get(name) for name in NOT_MODELS] == [None] * 7
    store = ModelStore(folder.parent, Catalogue({}))
    with pytest.raises(ModelNotGenerative, match="tiny is a sentence model"):
        store.ready_directory("tiny")


def test_without_transformers_there_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    absent = lambda name: None if name == "transformers" else find(name)  # noqa: E731
    monkeypatch.setattr(sentence_models, "find_spec", absent)
    models = SentenceModels(folder.parent)
    assert (models.names(), models.first(), models.get("none")) == ([], None, None)
    with pytest.raises(ModelUnavailable, match="pip install transformers"):
        models.get("tiny")


def test_an_encoder_of_another_kind_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**config, "model_type": "llama"})
    with pytest.raises(UnsupportedArchitecture, match="'llama' is no encoder"):
        model(folder)


POOLING = "1_Pooling/config.json"
WRONG: list[tuple[str, Any, str]] = [
    ("modules.json", {"a": 1}, "not a list of modules"),
    ("modules.json", modules("Transformer", "Pooling", "Dense"), "Dense cannot be run"),
    (POOLING, {"pooling_mode_max_tokens": True}, "a pooling of max_tokens"),
    (
        POOLING,
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
        "a pooling of cls_token, mean_tokens",
    ),
    (POOLING, {}, "a pooling of nothing"),
    (POOLING, [], "not a JSON object"),
    ("config.json", {"model_type": "bert"}, "max_position_embeddings = None"),
    ("tokenizer.json", {}, "not a tokenizer"),
]


@pytest.mark.parametrize(("name", "value", "said"), WRONG)
def test_what_cannot_be_computed_is_named(folder: Path, name: str, value: Any, said: str) -> None:
    write_json(folder / name, value)
    with pytest.raises(ModelInvalid, match=said):
        model(folder)


async def test_weights_that_are_not_all_there(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(ModelInvalid, match=r"lacks encoder\.layer\.1\.output\.dense\.weight\."):
        await encoded(folder, ["Bread"])
    path.write_bytes(b"{}")
    with pytest.raises(ModelInvalid, match="cannot be loaded"):
        await encoded(folder, ["Bread"])
