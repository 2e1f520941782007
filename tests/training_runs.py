"""Small runs of training on texts made here. Import the fixtures by name into a test module."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.training.pretraining import pretrain
from inference.training.recipe import Recipe
from inference.training.run_log import read_log

__all__ = ["one_thread", "stories"]

TOY = Recipe(
    size="toy",
    vocab=320,
    context=32,
    batch_tokens=512,
    micro_tokens=512,
    steps=12,
    warmup_steps=2,
    learning_rate=5e-3,
    log_every=1,
    eval_every=4,
    eval_tokens=1024,
    save_every=4,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order, and no waiting for cores that others have."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of short stories."""
    path = tmp_path_factory.mktemp("texts") / "stories.txt"
    path.write_text("\n<|endoftext|>\n".join(short_stories(300)), encoding="utf-8")
    return path


def short_stories(count: int) -> list[str]:
    draw = random.Random(1)
    texts = []
    for number in range(count):
        name, thing = draw.choice(["Lily", "Tom", "Mia"]), draw.choice(["ball", "cake", "boat"])
        mood = draw.choice(["happy", "sad"])
        texts.append(f"{name} had a {thing}. It was number {number}. {name} was {mood}.")
    return texts


def run_toy(
    data: Path | list[Path], folder: Path, said: list[str] | None = None, **changes: Any
) -> list[dict[str, Any]]:
    """Train in `folder` with changes to TOY, and give its log. Messages are put into `said`."""
    minutes = changes.pop("max_minutes", None)
    options = {
        "data": data if isinstance(data, list) else [data],
        "tokenizer": None,
        "cache": folder.parent / "cache",
        "device": "cpu",
        "max_minutes": minutes,
    }
    say = said.append if said is not None else lambda _: None
    pretrain(replace(TOY, **changes), folder, options, say)
    return read_log(folder / "log.jsonl")


def losses(log: list[dict[str, Any]]) -> dict[int, float]:
    """By step."""
    return {row["step"]: row["loss"] for row in log if row["event"] == "step"}
