"""The model that comes with the repository: whole, small enough, where it belongs, and a writer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inference.catalogue import Catalogue, ProjectSource
from inference.config import ModelConfig
from inference.corpus import quality
from inference.errors import EngineError, ModelUnavailable
from inference.model_store import ModelStore
from inference.offline import OfflineModel, run_to_end
from inference.options import EngineOptions
from inference.training.sizes import parameters
from inference.types import Delta, EngineEvent, Finished, GenerateRequest, ModelKind

BEGINNINGS = [
    "Once upon a time there was a dragon who",
    "Mia wanted to make the tallest tower in the world.",
    "A robot named Zibby found an umbrella.",
    "从前有一只小狐狸，",
    "下雨了，小猫没有伞。",
]


@pytest.fixture
def folder() -> Path:
    (source,) = Catalogue.load().get("story").sources
    assert isinstance(source, ProjectSource)
    return source.path


def test_it_is_small_enough_for_the_repository(folder: Path) -> None:
    assert parameters(ModelConfig.load(folder)) <= 8_000_000
    assert (folder / "model.safetensors").stat().st_size <= 16_000_000


def test_it_is_there_without_a_pull_and_stays(folder: Path) -> None:
    store = ModelStore(folder.parent, Catalogue.load())
    assert store.state("story") == ("ready", "")
    assert store.pull("story") is False
    with pytest.raises(ModelUnavailable, match="story is part of the project and stays"):
        store.remove("story")
    assert store.state("story") == ("ready", "")


def test_it_is_copied_to_another_folder_of_models_and_removed_there(
    folder: Path, tmp_path: Path
) -> None:
    store = ModelStore(tmp_path, Catalogue.load())
    assert store.state("story")[0] == "missing"
    assert store.pull("story") is True
    assert store.state("story") == ("ready", "")
    weights = "model.safetensors"
    assert (tmp_path / "story" / weights).read_bytes() == (folder / weights).read_bytes()
    store.remove("story")
    assert store.state("story")[0] == "missing"
    assert (folder / weights).is_file()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    catalogue = Catalogue.load()
    entry = replace(catalogue.get("story"), sources=(ProjectSource("models/nowhere"),))
    store = ModelStore(tmp_path, replace(catalogue, entries={"story": entry}))
    with pytest.raises(ModelUnavailable, match="models/nowhere is not there"):
        store.pull("story")


@pytest.mark.real_engine
def test_its_stories_are_long_enough_do_not_loop_and_stay_in_their_language(folder: Path) -> None:
    """As the site samples it. What it says of its worth is in docs/story-model."""
    model = OfflineModel(folder, ModelKind.COMPLETION, EngineOptions(device="cpu", max_batch=8))
    sampling = replace(Catalogue.load().get("story").defaults, seed=1)
    requests = [
        GenerateRequest(
            text, "story", tuple(model.codec.encode(text, add_special_tokens=True)), sampling
        )
        for text in BEGINNINGS
    ]
    told = dict.fromkeys(BEGINNINGS, "")

    def collect(events: list[tuple[str, EngineEvent | EngineError]]) -> None:
        for name, event in events:
            assert not isinstance(event, EngineError)
            if isinstance(event, Delta):
                told[name] += event.text
            elif isinstance(event, Finished):
                assert event.reason in ("stop", "length")

    run_to_end(model.engine, requests, collect)
    for beginning, text in told.items():
        assert len(quality.units(text)) > 60, (beginning, text)
        assert quality.repeated(text) < 0.2, (beginning, text)
        chinese = sum("\u4e00" <= letter <= "\u9fff" for letter in text) / len(text)
        assert (chinese > 0.5) is not beginning.isascii(), (beginning, text)
