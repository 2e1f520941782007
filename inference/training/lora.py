"""Fine-tuning on rated answers with LoRA (Hu et al., 2021), by peft: beside each matrix of a layer
two small ones are learned, and in the end their product is added to it.

Ratings are JSONL: {"prompt": a text or messages, "answer": a text, "rating": a number}. Answers
that are rated well enough are learned, the others left out. What is asked is read and not learned.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from inference.training.encoding import encode_files
from inference.training.errors import TrainingError, writing
from inference.training.model import Llama
from inference.training.model_files import ModelFiles, load_model
from inference.training.recipe import Recipe
from inference.training.shards import TokenData, load_shards
from inference.training.trainer import Trainer
from inference.training.world import joined

Say = Callable[[str], None]
RANK = 8
ALPHA = 16
MATRICES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def fine_tune(recipe: Recipe, folder: Path, options: dict[str, Any], say: Say) -> None:
    """The model of options["model"], tuned on options["ratings"], comes to lie in folder/model.
    Raises TrainingError."""
    directory = options["model"]
    with joined(options["device"]) as world:
        say = say if world.is_first else lambda _: None
        rows = list(well_rated(options["ratings"], options["at_least"]))
        model = load_model(directory)
        count = sum(parameter.numel() for parameter in model.parameters())
        if count > recipe.parameter_limit:
            allowed = f"{recipe.parameter_limit:,}"
            raise TrainingError(f"{directory} has {count:,} parameters, and {allowed} are allowed.")
        data = _data(rows, recipe, folder, options)
        adapted = with_adapters(model, recipe.seed)
        say(f"Learning from {len(rows)} answers")
        finished = Trainer(adapted, data, recipe, folder, world).run(say, options["max_minutes"])
        if world.is_first:
            raw = json.loads((directory / "config.json").read_text(encoding="utf-8"))
            merged: Llama = adapted.merge_and_unload()
            ModelFiles(raw, directory).save(merged, folder / "model", _stored_as(raw))
        say(f"{folder / 'model'} holds the tuned model{'' if finished else ' so far'}.")


def with_adapters(model: Llama, seed: int) -> Any:
    """The model with small matrices that alone are learned."""
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError as error:
        reason = f"Fine-tuning needs requirements-dev.txt: {error.name} is not installed."
        raise TrainingError(reason) from error
    import torch

    torch.manual_seed(seed)
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=MATRICES)
    return get_peft_model(model, config)


def well_rated(path: Path, at_least: float) -> Iterator[dict[str, Any]]:
    """Rows of which the answer is to be learned, as conversations or as texts. Raises
    TrainingError that names the line, or where none is rated well enough."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path} cannot be read: {error}.") from error
    found = False
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _row(line)
        if row is None:
            form = '{"prompt": a text or messages, "answer": "…", "rating": a number}'
            raise TrainingError(f"{path}, line {number} must be {form}.")
        if row["rating"] >= at_least and row["answer"].strip():
            found = True
            yield row
    if not found:
        raise TrainingError(f"{path}: no answer is rated {at_least:g} or better.")


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
        prompt, answer, rating = row["prompt"], row["answer"], row["rating"]
    except (ValueError, KeyError, TypeError):
        return None
    if isinstance(prompt, list):
        fits = all(isinstance(m, dict) and {"role", "content"} <= m.keys() for m in prompt)
    else:
        fits = isinstance(prompt, str)
    numeric = isinstance(rating, int | float) and not isinstance(rating, bool)
    return row if fits and numeric and isinstance(answer, str) else None


def _data(
    rows: Sequence[dict[str, Any]], recipe: Recipe, folder: Path, options: dict[str, Any]
) -> TokenData:
    """The rows as conversations, repeated until there is a window of them."""
    conversations = folder / "answers-train-0.jsonl"
    with writing(conversations):
        folder.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps({"messages": _messages(row)}, ensure_ascii=False) for row in rows)
        conversations.write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = load_shards(encode_files([conversations], options["model"], options["cache"]))
    times = -(-(recipe.context + 1) // data.tokens.size)
    learned = None if data.learned is None else np.tile(data.learned, times)
    return replace(data, tokens=np.tile(data.tokens, times), learned=learned)


def _messages(row: dict[str, Any]) -> list[dict[str, str]]:
    prompt = row["prompt"]
    asked = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
    return [*asked, {"role": "assistant", "content": row["answer"]}]


def _stored_as(raw: dict[str, Any]) -> Any:
    name = raw.get("torch_dtype") or raw.get("dtype")
    return name if name in ("float16", "bfloat16", "float32") else "float32"
