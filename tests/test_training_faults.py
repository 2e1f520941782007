"""What training does when something breaks, each with the real failure."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from inference.training.checkpoints import Checkpoints
from inference.training.cli import add_arguments
from inference.training.errors import CheckpointDamaged, LossNotFinite, TrainingError
from inference.training.lora import well_rated
from inference.training.recipe import load_recipe
from tests.training_runs import losses, one_thread, run_toy, stories

__all__ = ["one_thread", "stories"]


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(stories: Path, tmp_path: Path) -> None:
    whole = losses(run_toy(stories, tmp_path / "run"))
    older, newer = sorted((tmp_path / "run/checkpoints").iterdir())
    assert [older.name, newer.name] == ["step-00000008.ckpt", "step-00000012.ckpt"]
    damage(newer)
    said: list[str] = []
    again = losses(run_toy(stories, tmp_path / "run", said))
    assert any(f"{newer} is damaged" in text and "one before it is used" in text for text in said)
    assert "Going on after step 8 of 12" in said
    assert again == whole

    damage(older)
    newer.write_bytes(newer.read_bytes()[:1000])  # as a copy that was cut off
    with pytest.raises(CheckpointDamaged, match=r"No checkpoint in .* is whole"):
        run_toy(stories, tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_the_run(stories: Path, tmp_path: Path) -> None:
    with pytest.raises(LossNotFinite, match=r"step \d, .* is not finite; no checkpoint"):
        run_toy(stories, tmp_path / "run", learning_rate=1e30, log_every=12, save_every=12)
    assert not list(tmp_path.glob("run/checkpoints/*"))
    with pytest.raises(LossNotFinite, match=r"step 2, .* is not finite; step 1 is kept"):
        run_toy(stories, tmp_path / "kept", learning_rate=1e30, save_every=1, warmup_steps=0)
    assert [path.name for path in tmp_path.glob("kept/checkpoints/*")] == ["step-00000001.ckpt"]


def test_a_full_disk_keeps_the_last_checkpoint(stories: Path, tmp_path: Path) -> None:
    run_toy(stories, tmp_path / "run", steps=4)
    checkpoints = tmp_path / "run/checkpoints"
    (kept,) = checkpoints.iterdir()
    content = kept.read_bytes()
    (checkpoints / "writing.partial").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match=r"disk is full: .* MB are free. Step 4 is kept"):
        Checkpoints(checkpoints).save(8, {"step": 8})
    assert kept.read_bytes() == content
    (tmp_path / "other").mkdir()
    (tmp_path / "other/log.partial").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match=r"disk is full: .*log.jsonl"):
        run_toy(stories, tmp_path / "other")


def test_a_folder_that_cannot_be_made(stories: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"file/run.* cannot be written: .*Not a directory"):
        run_toy(stories, tmp_path / "file/run")


def test_a_model_over_the_limit_is_refused(stories: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"has 112,960 parameters, .* allows 100,000"):
        run_toy(stories, tmp_path / "run", parameter_limit=100_000)
    assert not (tmp_path / "run/checkpoints").exists()


def test_a_run_goes_on_only_as_it_began(stories: Path, tmp_path: Path) -> None:
    run_toy(stories, tmp_path / "run", steps=4)
    with pytest.raises(TrainingError, match=r"was begun with learning_rate = 0.005, seed = 1\."):
        run_toy(stories, tmp_path / "run", steps=4, learning_rate=1e-3, seed=2)
    other = tmp_path / "other.txt"
    other.write_text("\n<|endoftext|>\n".join(["other words"] * 200))
    with pytest.raises(TrainingError, match="was begun with data ="):
        run_toy(other, tmp_path / "run", steps=4)


def test_too_little_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("few words")
    with pytest.raises(TrainingError, match="There are 3 tokens, and one window is 33"):
        run_toy(tmp_path / "a.txt", tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (["steps=many"], "steps=many: 'many' is not of type int"),
        (["stepz=1"], "a recipe has no 'stepz'"),
        (["learning_rate=-1"], "learning_rate = -1.0: it must be above 0"),
        (["batch_tokens=1000"], "batch_tokens = 1000: it must be a multiple of the context"),
        (["precision=int4"], "precision = 'int4': it must be one of auto, fp32, bf16, fp16"),
        (["vocab=70000"], "tokens are stored in 16 bits"),
    ],
)
def test_a_recipe_that_makes_no_sense(changes: list[str], complaint: str) -> None:
    with pytest.raises(TrainingError, match=complaint):
        load_recipe("toy", changes)


def test_changes_may_be_named_one_by_one() -> None:
    parser = ArgumentParser()
    add_arguments(parser)
    options = ["run", "texts", "--output", "o", "--set", "steps=7", "--set", "clip=2", "seed=3"]
    assert parser.parse_args(options).changes == ["steps=7", "clip=2", "seed=3"]


def test_recipes_are_checked_where_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("steps = 'ten'")
    with pytest.raises(TrainingError, match=r"mine.toml: steps = 'ten' is not of type int"):
        load_recipe(str(path))
    with pytest.raises(TrainingError, match=r"There is no recipe none. Known recipes: .*story"):
        load_recipe("none")


def test_ratings_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "rated.jsonl"
    path.write_text('{"prompt": "a", "answer": "b", "rating": -1}\n')
    with pytest.raises(TrainingError, match="no answer is rated 1 or better"):
        list(well_rated(path, 1))
    path.write_text('{"prompt": "a", "answer": "b"}\n')
    with pytest.raises(TrainingError, match="line 1 must be"):
        list(well_rated(path, 1))


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="nowhere does not exist"):
        call_command("train", "run", str(tmp_path / "nowhere"), output=tmp_path / "run")
