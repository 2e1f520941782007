"""What is trained is what the engine runs: the same logits, tokens and text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inference import prompt_codec
from inference.config import ModelConfig
from inference.kv_cache import KVCache
from inference.offline import OfflineModel
from inference.options import EngineOptions
from inference.runner import ModelRunner
from inference.scheduler import Chunk
from inference.sequence import Sequence
from inference.training.lora import fine_tune
from inference.training.model import Llama
from inference.training.model_files import ModelFiles, load_model
from inference.training.recipe import load_recipe
from inference.training.run_log import read_log
from inference.training.sizes import config_json, parameters, sizes
from inference.types import GenerateRequest, ModelKind, SamplingParams
from tests.tiny_llama import write_tiny_llama
from tests.training_runs import losses, one_thread, run_toy, stories

__all__ = ["one_thread", "stories"]

pytestmark = pytest.mark.real_engine


@pytest.fixture(scope="module")
def trained(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that has learned a little."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    run_toy(stories, folder, steps=60, eval_every=60, save_every=60)
    return folder / "model"


def engine_logits(directory: Path, ids: list[int], dtype: str) -> torch.Tensor:
    """After each token, by our own engine."""
    options = EngineOptions(device="cpu", dtype=dtype, kv_tokens=256, threads=1)
    runner = ModelRunner(directory, options)
    cache, rows = KVCache(runner.blocks), []
    for end in range(1, len(ids) + 1):
        sequence = Sequence(GenerateRequest(str(end), "", tuple(ids[:end])), end + 1, 0, 0)
        cache.grow(sequence, end)
        rows.append(torch.from_numpy(runner.run((Chunk(sequence, end),))[0].copy()))
        cache.release(sequence)
    return torch.stack(rows)


@pytest.mark.parametrize("size", sizes())
def test_the_engine_computes_what_was_trained(size: str, tmp_path: Path) -> None:
    raw = config_json(size, vocab=300, context=64, end_of_text=0)
    config = ModelConfig.from_dict(raw, tmp_path)
    model = Llama(config)
    model.initialize(seed=3)
    assert sum(p.numel() for p in model.parameters()) == parameters(config)
    write_tiny_llama(tmp_path / "tokenizer", vocab=300)
    ModelFiles(raw, tmp_path / "tokenizer").save(model, tmp_path / "model", "float32")
    ids = [0, 5, 299, 17, 17, 42, 100, 3, 250, 8]
    with torch.no_grad():
        expected = model.logits(torch.tensor([ids]))[0]
    found = engine_logits(tmp_path / "model", ids, "float32")
    assert (found - expected).norm() / expected.norm() < 1e-5


def test_saved_weights_come_back(trained: Path, tmp_path: Path) -> None:
    model = load_model(trained)
    raw = json.loads((trained / "config.json").read_text())
    assert raw["torch_dtype"] == "float16"
    ModelFiles(raw, trained).save(model, tmp_path / "again")
    first, second = (p / "model.safetensors" for p in (trained, tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()


def test_the_engine_tells_a_story_with_the_new_tokenizer(trained: Path) -> None:
    model = OfflineModel(trained, ModelKind.COMPLETION, EngineOptions(device="cpu", threads=1))
    prompt = model.codec.encode("Lily had a", add_special_tokens=True)
    assert prompt[0] == 0  # <|endoftext|>, as in training
    told = model.generate(prompt, SamplingParams(temperature=0, max_tokens=40))
    assert " was " in told.text
    assert told.finished.reason == "stop"


def test_any_text_survives_the_new_tokenizer(trained: Path) -> None:
    codec = prompt_codec.load(trained, ModelKind.COMPLETION, "weights", "float16")
    for text in ("从前有一只小猫。它很高兴！", "naïve 🙂 \n\t tabs", "<|im_start|x"):
        assert codec.decode(codec.encode(text)) == text


def ratings(path: Path, prompt: Any, answer: str) -> Path:
    rows = [
        {"prompt": prompt, "answer": answer, "rating": 1},
        {"prompt": prompt, "answer": "zz zz zz", "rating": -1},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("chat", [True, False])
def test_lora_learns_what_was_rated_well(tmp_path: Path, chat: bool) -> None:
    directory = write_tiny_llama(tmp_path / "tiny", context=128, chat=chat, vocab=320)
    recipe = load_recipe("lora")
    recipe = replace(recipe, context=32, batch_tokens=256, steps=60, learning_rate=2e-2)
    options = {
        "model": directory,
        "ratings": ratings(tmp_path / "rated.jsonl", "say it", "blue"),
        "at_least": 1.0,
        "cache": tmp_path / "cache",
        "device": "cpu",
        "max_minutes": None,
    }
    fine_tune(recipe, tmp_path / "run", options, lambda _: None)
    curve = losses(read_log(tmp_path / "run/log.jsonl"))
    assert curve[60] < 0.1 * curve[5]
    tuned = OfflineModel(
        tmp_path / "run/model",
        ModelKind.CHAT if chat else ModelKind.COMPLETION,
        EngineOptions(device="cpu", threads=1),
    )
    if chat:
        asked = tuned.codec.render(
            [{"role": "user", "content": "say it"}], add_generation_prompt=True
        )
    else:
        asked = "<|endoftext|>say it"
    told = tuned.generate(tuned.codec.encode(asked), SamplingParams(temperature=0, max_tokens=8))
    assert told.text.startswith("blue")
