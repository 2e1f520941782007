"""A story model from texts: data, a model of the recipe's size, the training loop, and a folder
that the engine loads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inference.training.data import token_folders
from inference.training.errors import TrainingError, writing
from inference.training.model import Llama
from inference.training.model_files import ModelFiles
from inference.training.recipe import Recipe
from inference.training.run_log import draw_curves, read_log
from inference.training.shards import TokenData, load_shards
from inference.training.sizes import config_json, parameters
from inference.training.tokenizer import end_of_text, load_tokenizer
from inference.training.trainer import Trainer
from inference.training.world import World, joined

Say = Callable[[str], None]


def pretrain(recipe: Recipe, folder: Path, options: dict[str, Any], say: Say) -> bool:
    """Train into `folder`; the model comes to lie in folder/model, also when time ends the run
    before the last step: then False. options: data, tokenizer, cache, device, max_minutes. Raises
    TrainingError."""
    with joined(options["device"]) as world:
        say = say if world.is_first else lambda _: None
        data = _data(recipe, folder, options, world, say)
        files = model_files(recipe, data)
        model = Llama(files.config)
        model.initialize(recipe.seed)
        say(
            f"{parameters(files.config):,} parameters, {data.tokens.size:,} tokens to learn, "
            f"{recipe.steps * recipe.batch_tokens / data.tokens.size:.1f} times each"
        )
        finished = Trainer(model, data, recipe, folder, world).run(say, options["max_minutes"])
        if world.is_first:
            files.save(model, folder / "model")
        say(f"{folder / 'model'} holds the model." if finished else _later(folder))
    return finished


def model_files(recipe: Recipe, data: TokenData) -> ModelFiles:
    """The configuration of a recipe for the data's tokenizer. Raises TrainingError where it is
    larger than the recipe allows."""
    end = end_of_text(load_tokenizer(data.tokenizer))
    raw = config_json(recipe.size, vocab=data.vocab, context=recipe.context, end_of_text=end)
    files = ModelFiles(raw, data.tokenizer)
    count = parameters(files.config)
    if count > recipe.parameter_limit:
        raise TrainingError(
            f"Size {recipe.size} with {data.vocab:,} tokens has {count:,} parameters, and the "
            f"recipe allows {recipe.parameter_limit:,}: choose a smaller size or vocabulary, or "
            "raise parameter_limit."
        )
    return files


def write_sweep(folder: Path, names: Sequence[str], say: Say) -> None:
    """The curves of several runs in one picture, and their last losses as a table."""
    logs = {name: read_log(folder / name / "log.jsonl") for name in names}
    draw_curves(logs, folder / "sweep.png")
    table = sweep_table(logs)
    with writing(folder / "sweep.md"):
        (folder / "sweep.md").write_text(table, encoding="utf-8")
    say(table)


def sweep_table(logs: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Of each run: parameters, tokens, and the loss of each held-out source, as Markdown."""
    last = {name: _last(rows, "heldout") for name, rows in logs.items()}
    sources = sorted({source for row in last.values() for source in row.get("sources", {})})
    heads = ["run", "parameters", "tokens", "training loss", *(f"{s}, bits/byte" for s in sources)]
    lines = [heads, ["---"] * len(heads)]
    for name, rows in logs.items():
        begin, step = _last(rows, "begin"), _last(rows, "step")
        if not step:
            continue
        found = last[name].get("sources", {})
        bits = [f"{found[s]['bits_per_byte']:.3f}" if s in found else "" for s in sources]
        numbers = [f"{begin['parameters']:,}", f"{step['tokens']:,}", f"{step['loss']:.3f}"]
        lines.append([name, *numbers, *bits])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _data(
    recipe: Recipe, folder: Path, options: dict[str, Any], world: World, say: Say
) -> TokenData:
    """The first process encodes, the others find it in the cache."""
    tokenizer = options["tokenizer"] or folder / "tokenizer"
    folders: list[Path] = []
    for turn in (True, False):
        if world.is_first == turn:
            folders = token_folders(
                options["data"], tokenizer, vocab=recipe.vocab, cache=options["cache"], say=say
            )
        world.wait()
    return load_shards(folders)


def _last(rows: Sequence[dict[str, Any]], event: str) -> dict[str, Any]:
    return next((row for row in reversed(rows) if row["event"] == event), {})


def _later(folder: Path) -> str:
    return f"Stopped: {folder / 'model'} holds the model so far, the same command goes on."
