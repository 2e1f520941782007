"""The training loop: batches in, checkpoints, a log and in the end a model out."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from inference.training.batches import Order, Windows
from inference.training.checkpoints import Checkpoints, State
from inference.training.errors import LossNotFinite, TrainingError
from inference.training.heldout import HeldOutLoss
from inference.training.optimizer import learning_rate, optimizers
from inference.training.precision import Precision, compiled
from inference.training.recipe import Recipe
from inference.training.run_log import RunLog, draw_curves, read_log
from inference.training.run_state import Signals, machine, random_state, set_random_state
from inference.training.shards import TokenData
from inference.training.world import World

_FINE = 2**40
Say = Callable[[str], None]


class Trainer:
    """One run in a folder: checkpoints/, log.jsonl and loss.png. A folder in which a run was
    begun is gone on with, exactly: weights, optimizers, scaler, random state and order of data.
    model: ids and targets to the sum of losses; what needs no gradient stays as it is."""

    def __init__(
        self, model: nn.Module, data: TokenData, recipe: Recipe, folder: Path, world: World
    ) -> None:
        self._recipe, self._folder, self._world = recipe, folder, world
        self._data = data.digest
        device = world.device
        self._model = model.to(device)
        self._trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._precision = Precision(recipe.precision, device)
        self._optimizers = optimizers(recipe, model, device)
        self._shared = world.shared(compiled(self._model, recipe.compile, device))
        self._windows = Windows(data.tokens, data.learned, recipe.context, device)
        self._order = Order(self._windows, recipe.batch, recipe.seed, device)
        self._heldout = HeldOutLoss(data, recipe, device, self._precision)
        self._rows = rows_per_pass(recipe, world.size)
        self._checkpoints, self._log = Checkpoints(folder / "checkpoints"), RunLog(self.log_path)
        self._losses = torch.zeros((), device=device)
        self._norm = torch.zeros((), device=device)
        self._bad = torch.full((), _FINE, dtype=torch.int64, device=device)
        self._logged, self._clock = 0, time.monotonic()
        self._asked = self._stopped = False
        self.step = 0

    @property
    def log_path(self) -> Path:
        return self._folder / "log.jsonl"

    def run(self, say: Say, max_minutes: float | None = None) -> bool:
        """Train to the last step; False when it was stopped before, by the time or a signal, with
        a checkpoint. Raises TrainingError and its subclasses."""
        until = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        with Signals(self._stop):
            self._begin(say)
            self._loop(until)
        self._end(say)
        return self.step == self._recipe.steps

    def _loop(self, until: float | None) -> None:
        bar = tqdm(
            total=self._recipe.steps,
            initial=self.step,
            unit="step",
            disable=None if self._world.is_first else True,
        )
        with bar:
            while self.step < self._recipe.steps and not self._stopped:
                self._train_step()
                bar.update()
                # processes agree on when to stop where they meet in any case
                if self._due(self._recipe.log_every) or (self._asked and self._world.size == 1):
                    bar.set_postfix_str(self._write_step(), refresh=False)
                    late = until is not None and time.monotonic() >= until
                    self._stopped = self._world.any(self._asked or late)
                if self._due(self._recipe.eval_every):
                    self._write_heldout()
                if self._due(self._recipe.save_every):
                    self._save()

    def _train_step(self) -> None:
        recipe, world = self._recipe, self._world
        starts = self._order.starts(self.step)
        count = self._windows.learned(starts)
        share = recipe.batch // world.size
        mine = starts[world.rank * share : (world.rank + 1) * share].split(self._rows)
        total = torch.zeros_like(self._losses)
        for index, rows in enumerate(mine):
            # gradients of all processes are joined once, in the last pass
            joins = world.size == 1 or index == len(mine) - 1
            with nullcontext() if joins else self._world.apart(self._shared):
                with self._precision.autocast():
                    loss = self._shared(*self._windows.read(rows))
                self._precision.scaler.scale(loss * world.size / count).backward()
            total += loss.detach() / count
        self._update(learning_rate(recipe, self.step))
        fine = torch.isfinite(total)
        if not self._precision.scaler.is_enabled():  # which leaves out steps that overflow
            fine &= torch.isfinite(self._norm)
        self._bad = torch.where(fine | (self._bad != _FINE), self._bad, self.step + 1)
        self._losses += total
        self.step += 1

    def _update(self, rate: float) -> None:
        scaler = self._precision.scaler
        for optimizer in self._optimizers:
            scaler.unscale_(optimizer)
            for group in optimizer.param_groups:
                group["lr"] = rate
        self._norm = nn.utils.clip_grad_norm_(self._trained.values(), self._recipe.clip)
        for optimizer in self._optimizers:
            scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        scaler.update()

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self._recipe.steps or self._stopped

    def _stop(self) -> None:
        self._asked = True

    def _check(self) -> None:
        """Raises LossNotFinite."""
        bad = self._world.least(self._bad)
        if bad == _FINE:
            return
        step = self._checkpoints.last_step()
        kept = "no checkpoint was written yet" if step is None else f"step {step} is kept"
        raise LossNotFinite(
            f"The loss of step {bad}, or its gradient, is not finite; {kept}. Try a lower learning "
            f"rate than {self._recipe.learning_rate:g}, or bf16 instead of fp16."
        )

    def _write_step(self) -> str:
        self._check()
        steps = self.step - self._logged
        if not steps:
            return ""
        loss = self._world.total(self._losses).item() / steps
        now, tokens = time.monotonic(), steps * self._recipe.batch_tokens
        rate = tokens / (now - self._clock)
        if self._world.is_first:
            self._log.write(
                "step",
                step=self.step,
                tokens=self.step * self._recipe.batch_tokens,
                loss=loss,
                learning_rate=learning_rate(self._recipe, self.step - 1),
                gradient_norm=self._norm.item(),
                tokens_per_s=round(rate),
            )
        self._losses.zero_()
        self._logged, self._clock = self.step, now
        return f"loss {loss:.3f}, {rate:,.0f} tokens/s"

    def _write_heldout(self) -> None:
        self._check()
        if self._world.is_first:
            tokens = self.step * self._recipe.batch_tokens
            sources = self._heldout.measure(self._model)
            self._log.write("heldout", step=self.step, tokens=tokens, sources=sources)
        self._world.wait()
        self._clock = time.monotonic()

    def _save(self) -> None:
        self._check()
        if self._world.is_first:
            self._checkpoints.save(self.step, self._state())
        self._world.wait()
        self._clock = time.monotonic()

    def _state(self) -> State:
        return {
            "step": self.step,
            "model": {name: p.detach() for name, p in self._trained.items()},
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "scaler": self._precision.scaler.state_dict(),
            "random": random_state(self._world.device),
            "recipe": self._recipe.decisive,
            "data": self._data,
        }

    def _begin(self, say: Say) -> None:
        """From the newest checkpoint, or from the start."""
        state = self._checkpoints.latest(say if self._world.is_first else lambda _: None)
        if state is not None:
            self._check_same(state)
            self._load(state)
            say(f"Going on after step {self.step:,} of {self._recipe.steps:,}")
        self._world.wait()
        if self._world.is_first:
            self._log.resume(self.step)
            parameters = sum(p.numel() for p in self._trained.values())
            self._log.write(
                "begin",
                step=self.step,
                parameters=parameters,
                precision=self._precision.name,
                data=self._data,
                recipe=self._recipe.decisive,
                machine=machine(self._world),
            )
        self._logged, self._clock = self.step, time.monotonic()

    def _check_same(self, state: State) -> None:
        now = {**self._recipe.decisive, "data": self._data}
        before = {**state["recipe"], "data": state["data"]}
        wrong = [f"{k} = {before.get(k)!r}" for k in now if before.get(k) != now[k]]
        if wrong:
            raise TrainingError(
                f"The run in {self._folder} was begun with {', '.join(wrong)}. "
                "Name another output folder, or go on with the same."
            )

    def _load(self, state: State) -> None:
        with torch.no_grad():
            for name, parameter in self._trained.items():
                parameter.copy_(state["model"][name])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self._precision.scaler.load_state_dict(state["scaler"])
        set_random_state(state["random"], self._world.device)
        self.step = int(state["step"])

    def _end(self, say: Say) -> None:
        if self._world.is_first:
            self._log.write("end", step=self.step, finished=self.step == self._recipe.steps)
            drawn = draw_curves({"training": read_log(self.log_path)}, self._folder / "loss.png")
            if not drawn:
                say("No picture of the loss: matplotlib is not installed.")


def rows_per_pass(recipe: Recipe, processes: int) -> int:
    """Sequences of one pass: as many as micro_tokens allow, and equally many in every pass, since
    another shape would be compiled again. Raises TrainingError."""
    share, left = divmod(recipe.batch, processes)
    if left or not share:
        raise TrainingError(
            f"batch_tokens = {recipe.batch_tokens}: {recipe.batch} sequences of {recipe.context} "
            f"tokens cannot be shared equally by {processes} processes."
        )
    most = max(1, recipe.micro_tokens // recipe.context)
    return max(count for count in range(1, share + 1) if share % count == 0 and count <= most)
