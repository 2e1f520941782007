"""Everything that decides what a run computes, as one frozen object: the same recipe, data and
seed give the same curve. No torch here."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from inference.training.errors import TrainingError

RECIPES = Path(__file__).with_name("recipes")
_CHOICES = {
    "schedule": ("cosine", "wsd"),
    "optimizer": ("adamw", "muon"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "compile": ("auto", "off", "default", "reduce-overhead", "max-autotune-no-cudagraphs"),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """size: a name in sizes.toml. batch_tokens: of one step of the optimizer, over all GPUs;
    micro_tokens: of one pass of one GPU, at most (the rest is accumulated).
    steps, warmup_steps: of the optimizer. schedule: cosine, or wsd (warm-up, stable, and a linear
    decay over the last decay_share); both end at final_share of the learning rate.
    optimizer: adamw, or muon for the matrices inside of layers and adamw for the rest.
    precision: what products are computed in; auto is bf16 on a GPU and fp32 on a CPU.
    compile: torch.compile's mode; auto is "default" on a GPU and off on a CPU.
    eval_tokens: of each held-out source, at most. *_every: in steps; save_every also at the end.
    parameter_limit: a larger model is refused."""

    size: str = "8m"
    vocab: int = 4096
    context: int = 512
    batch_tokens: int = 131_072
    micro_tokens: int = 131_072
    steps: int = 8000
    warmup_steps: int = 200
    learning_rate: float = 2e-3
    schedule: str = "cosine"
    decay_share: float = 0.2
    final_share: float = 0.05
    optimizer: str = "adamw"
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.1
    clip: float = 1.0
    precision: str = "auto"
    compile: str = "auto"
    seed: int = 1
    log_every: int = 20
    eval_every: int = 500
    eval_tokens: int = 262_144
    save_every: int = 1000
    parameter_limit: int = 8_000_000

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            self._check(getattr(self, name) in allowed, name, "one of " + ", ".join(allowed))
        for name in ("vocab", "context", "steps", "log_every", "eval_every", "save_every", "clip"):
            self._check(getattr(self, name) > 0, name, "above 0")
        self._check(self.learning_rate > 0, "learning_rate", "above 0")
        self._check(0 <= self.warmup_steps <= self.steps, "warmup_steps", "at most steps")
        for name in ("decay_share", "final_share"):
            self._check(0 <= getattr(self, name) <= 1, name, "between 0 and 1")
        self._check(self.vocab <= 65_536, "vocab", "at most 65536: tokens are stored in 16 bits")
        whole = self.batch_tokens > 0 and self.batch_tokens % self.context == 0
        self._check(whole, "batch_tokens", f"a multiple of the context of {self.context} tokens")
        self._check(self.micro_tokens >= self.context, "micro_tokens", "at least the context")

    def _check(self, ok: bool, name: str, allowed: str) -> None:
        if not ok:
            raise TrainingError(f"{name} = {getattr(self, name)!r}: it must be {allowed}.")

    @property
    def batch(self) -> int:
        """Sequences of one step."""
        return self.batch_tokens // self.context

    @property
    def decisive(self) -> dict[str, Any]:
        """What a run that is resumed may not change: it would be another curve."""
        free = ("precision", "compile", "micro_tokens", "log_every", "eval_every", "eval_tokens")
        return {k: v for k, v in asdict(self).items() if k not in (*free, "save_every")}


def load_recipe(name: str, changes: Iterable[str] = ()) -> Recipe:
    """A recipe by its name in recipes/ or by the path of a TOML file, with `field=value` changes.
    Raises TrainingError."""
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise TrainingError(f"There is no recipe {name}. Known recipes: {known}.") from None
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read: {error}.") from error
    return changed(from_table(table, str(path)), changes)


def from_table(table: dict[str, Any], where: str) -> Recipe:
    """Raises TrainingError that names `where`, and the field."""
    known = {field.name: str(field.type) for field in fields(Recipe)}
    for name, value in table.items():
        if name not in known:
            raise TrainingError(f"{where}: a recipe has no {name}. It has {', '.join(known)}.")
        wanted: Any = {"int": int, "float": (int, float), "str": str}[known[name]]
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise TrainingError(f"{where}: {name} = {value!r} is not of type {known[name]}.")
    return Recipe(**table)


def changed(recipe: Recipe, changes: Iterable[str]) -> Recipe:
    """With `field=value` changes. Raises TrainingError."""
    kinds = {field.name: str(field.type) for field in fields(Recipe)}
    values: dict[str, Any] = {}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in kinds:
            raise TrainingError(f"{change}: a recipe has no {name!r}. It has {', '.join(kinds)}.")
        try:
            values[name] = {"int": int, "float": float, "str": str}[kinds[name]](text)
        except ValueError:
            raise TrainingError(f"{change}: {text!r} is not of type {kinds[name]}.") from None
    return replace(recipe, **values)
