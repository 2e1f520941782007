"""The training loop on real, tiny runs."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from inference.training.batches import Order, Windows
from inference.training.model import IGNORED
from inference.training.optimizer import learning_rate
from inference.training.recipe import Recipe, load_recipe
from inference.training.trainer import rows_per_pass
from tests.training_runs import TOY, losses, one_thread, run_toy, stories

__all__ = ["one_thread", "stories"]

ROOT = Path(__file__).resolve().parent.parent


def test_the_loss_falls_and_a_model_comes_out(stories: Path, tmp_path: Path) -> None:
    log = run_toy(stories, tmp_path / "run", steps=40)
    curve = losses(log)
    assert curve[1] == pytest.approx(math.log(320), abs=0.3)  # nothing is known yet
    assert curve[40] < 0.6 * curve[1]
    held = [row["sources"]["stories"] for row in log if row["event"] == "heldout"]
    assert held[-1]["loss"] < 0.7 * held[0]["loss"]
    assert (tmp_path / "run/loss.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "run/model/model.safetensors").exists()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_that_is_resumed_has_the_same_curve(
    stories: Path, tmp_path: Path, optimizer: str
) -> None:
    whole = run_toy(stories, tmp_path / "whole", optimizer=optimizer)
    # no time at all: it stops after the first step that is logged
    first = run_toy(stories, tmp_path / "parts", optimizer=optimizer, log_every=5, max_minutes=1e-9)
    assert max(losses(first)) == 5
    said: list[str] = []
    second = run_toy(stories, tmp_path / "parts", said, optimizer=optimizer)
    assert "Going on after step 5 of 12" in said
    after = {step: loss for step, loss in losses(whole).items() if step > 5}
    assert {step: loss for step, loss in losses(second).items() if step > 5} == after
    weights = "model/model.safetensors"
    assert (tmp_path / "whole" / weights).read_bytes() == (
        tmp_path / "parts" / weights
    ).read_bytes()


def test_accumulated_passes_are_one_batch(stories: Path, tmp_path: Path) -> None:
    once = losses(run_toy(stories, tmp_path / "once"))
    parts = losses(run_toy(stories, tmp_path / "parts", micro_tokens=128))
    assert parts == pytest.approx(once, abs=2e-5)


@pytest.mark.parametrize(("precision", "allowed"), [("bf16", 0.03), ("fp16", 0.01)])
def test_mixed_precision_follows_fp32(
    stories: Path, tmp_path: Path, precision: str, allowed: float
) -> None:
    exact = losses(run_toy(stories, tmp_path / "fp32", precision="fp32"))
    mixed = losses(run_toy(stories, tmp_path / precision, precision=precision))
    assert mixed == pytest.approx(exact, abs=allowed)
    assert mixed != exact


def test_two_processes_learn_what_one_does(stories: Path, tmp_path: Path) -> None:
    single = run_toy(stories, tmp_path / "single", steps=4)
    recipe = tmp_path / "toy.toml"
    shared = {"size": "toy", "vocab": 320, "context": 32, "batch_tokens": 512, "steps": 4}
    shared |= {"micro_tokens": 512, "warmup_steps": 2, "learning_rate": 5e-3, "log_every": 1}
    recipe.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in shared.items()))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "inference.training", "run", str(stories), "--recipe", str(recipe)]
    command += ["--output", str(tmp_path / "two"), "--cache", str(tmp_path / "two-cache")]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    rows = [json.loads(line) for line in (tmp_path / "two/log.jsonl").read_text().splitlines()]
    assert rows[0]["machine"]["processes"] == 2
    assert losses(rows) == pytest.approx(losses(single), abs=2e-5)


def test_a_request_to_end_leaves_a_checkpoint(stories: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "inference.training", "run", str(stories), "--recipe", "toy"]
    command += ["--set", "size=toy", "vocab=320", "context=32", "batch_tokens=512", "steps=100000"]
    command += ["log_every=1", "--output", str(tmp_path / "run"), "--cache", str(tmp_path / "c")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    log = tmp_path / "run/log.jsonl"
    while process.poll() is None and not (log.exists() and '"event": "step"' in log.read_text()):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == 0
    assert "the same command goes on" in output
    assert list((tmp_path / "run/checkpoints").glob("step-*.ckpt"))


def test_data_comes_in_an_order_that_the_step_decides() -> None:
    device = torch.device("cpu")
    tokens = torch.arange(1000).numpy().astype("uint16")
    windows = Windows(tokens, None, 10, device)
    order = Order(windows, 8, 1, device)
    fresh = Order(windows, 8, 1, device)
    later = fresh.starts(40)
    assert torch.equal([order.starts(step) for step in range(41)][40], later)
    assert not torch.equal(Order(windows, 8, 2, device).starts(40), later)
    # every window of a pass once
    seen = torch.cat([order.starts(step) for step in range(order.windows)])[: order.windows]
    assert seen.unique().numel() == order.windows
    assert (seen.sort().values.diff() == 10).all()
    ids, targets = windows.read(later)
    assert torch.equal(ids[:, 1:], targets[:, :-1])
    assert torch.equal(ids[:, 0], later)
    assert int(seen.max()) + 10 < 1000


def test_tokens_above_the_sign_bit_and_those_not_learned() -> None:
    tokens = torch.tensor([65535, 40000, 7, 8, 9, 10]).numpy().astype("uint16")
    learned = torch.tensor([True, False, True, False, True, True]).numpy()
    windows = Windows(tokens, learned, 5, torch.device("cpu"))
    ids, targets = windows.read(torch.tensor([0]))
    assert ids.tolist() == [[65535, 40000, 7, 8, 9]]
    assert targets.tolist() == [[IGNORED, 7, IGNORED, 9, 10]]
    assert windows.learned(torch.tensor([0])) == 3


def test_learning_rates() -> None:
    cosine = Recipe(steps=100, warmup_steps=10, learning_rate=1.0, final_share=0.1)
    rates = [learning_rate(cosine, step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert rates[10] == 1
    assert rates[-1] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    stable = Recipe(steps=100, warmup_steps=10, learning_rate=1.0, final_share=0.0, schedule="wsd")
    assert {learning_rate(stable, step) for step in range(10, 80)} == {1.0}
    assert learning_rate(stable, 99) == 0


def test_passes_share_a_batch_equally() -> None:
    assert rows_per_pass(TOY, 2) == 8
    assert rows_per_pass(Recipe(batch_tokens=512 * 12, micro_tokens=512 * 5), 1) == 4


def test_training_needs_no_more_than_a_bare_machine_has() -> None:
    absent = ("django", "structlog", "numba", "cupy", "matplotlib", "peft", "channels")
    code = f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
    code += "import inference.training.lora, inference.training.pretraining, inference.training.cli"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("name", ["story", "story-bilingual", "toy", "lora"])
def test_recipes_can_be_read(name: str) -> None:
    assert load_recipe(name, ["steps=9", "warmup_steps=0"]).steps == 9
