"""A model's shape, read once from its `config.json` and checked with errors that name the field."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inference.errors import (
    InvalidParameter,
    ModelInvalid,
    ModelUnavailable,
    UnsupportedArchitecture,
)
from inference.plugins import ARCHITECTURES, installed

SUPPORTED_ARCHITECTURES = ("LlamaForCausalLM",)
# The numbers that each kind of rope scaling cannot do without, and those that it may have.
_REQUIRED: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "llama3": (
        "factor",
        "low_freq_factor",
        "high_freq_factor",
        "original_max_position_embeddings",
    ),
    "yarn": (),
}
_OPTIONAL: dict[str, tuple[str, ...]] = {
    "yarn": (
        "factor",
        "original_max_position_embeddings",
        "beta_fast",
        "beta_slow",
        "attention_factor",
        "mscale",
        "mscale_all_dim",
    ),
}
ROPE_TYPES = tuple(_REQUIRED)
# How far positions are stretched at most: the authors of YaRN went to 32 times and no further.
MOST_STRETCHED = 32


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """Rotary positions: base theta and how they are stretched (fields as in config.json)."""

    theta: float
    kind: str
    scaling: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes of a decoder. head_dim is explicit, or hidden_size / heads."""

    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    norm_eps: float
    rope: RopeConfig
    context_length: int
    tied_embeddings: bool
    attention_bias: bool
    mlp_bias: bool

    @classmethod
    def load(cls, directory: Path, context_tokens: int = 0) -> ModelConfig:
        """From `directory/config.json`. context_tokens: the most to read, see `context_for`.
        Raises ModelUnavailable, ModelInvalid, UnsupportedArchitecture, InvalidParameter."""
        path = directory / "config.json"
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ModelUnavailable(f"{path} is missing.", path=str(path)) from None
        except (OSError, ValueError) as error:
            raise ModelInvalid(f"{path} cannot be read: {error}", path=str(path)) from error
        if not isinstance(raw, dict):
            raise ModelInvalid(f"{path} must hold a JSON object.", path=str(path))
        return cls.from_dict(raw, path).reading(context_tokens)

    @classmethod
    def from_dict(cls, raw: dict[str, Any], path: Path) -> ModelConfig:
        """path: named in errors."""
        architecture = _architecture(raw, path)
        field = _Fields(raw, path)
        hidden, heads = field.integer("hidden_size"), field.integer("num_attention_heads")
        config = cls(
            architecture=architecture,
            vocab_size=field.integer("vocab_size"),
            hidden_size=hidden,
            intermediate_size=field.integer("intermediate_size"),
            layers=field.integer("num_hidden_layers"),
            heads=heads,
            kv_heads=field.integer("num_key_value_heads", heads),
            head_dim=field.integer("head_dim", hidden // heads),
            norm_eps=field.number("rms_norm_eps", 1e-6),
            rope=_rope(raw, path),
            context_length=context_length(raw, path),
            tied_embeddings=field.flag("tie_word_embeddings"),
            attention_bias=field.flag("attention_bias"),
            mlp_bias=field.flag("mlp_bias"),
        )
        config._check(raw, path)
        return config

    def reading(self, context_tokens: int) -> ModelConfig:
        """The same model with another limit, see `context_for`. Raises InvalidParameter."""
        own = self.context_length
        length = context_for(own, self.rope.kind, context_tokens)
        rope = self.rope
        if length > own:
            scaling = {"factor": length / own, "original_max_position_embeddings": own}
            rope = RopeConfig(theta=rope.theta, kind="yarn", scaling=scaling)
        return replace(self, rope=rope, context_length=length)

    def _check(self, raw: dict[str, Any], path: Path) -> None:
        activation = raw.get("hidden_act", "silu")
        problem = ""
        if activation != "silu":
            problem = f"hidden_act = {activation!r}, only 'silu' is supported"
        elif self.heads % self.kv_heads:
            problem = (
                f"num_attention_heads = {self.heads} must be a multiple of "
                f"num_key_value_heads = {self.kv_heads}"
            )
        elif self.head_dim % 2:
            problem = f"head_dim = {self.head_dim} must be even"
        if problem:
            raise ModelInvalid(f"{path}: {problem}.", path=str(path))


class _Fields:
    """Typed access to a config's fields; an error names path, field (after `prefix`) and value."""

    def __init__(self, raw: Mapping[str, Any], path: Path, prefix: str = "") -> None:
        self._raw, self._path, self._prefix = raw, path, prefix

    def integer(self, name: str, default: int | None = None) -> int:
        value = self._value(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.wrong(name, value, "an integer of at least 1")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        value = self._value(name, default)
        ok = isinstance(value, int | float) and not isinstance(value, bool)
        if not ok or not math.isfinite(value) or value <= 0:
            raise self.wrong(name, value, "a number above 0")
        return float(value)

    def flag(self, name: str) -> bool:
        value = self._raw.get(name)
        if not isinstance(value, bool | None):
            raise self.wrong(name, value, "true or false")
        return bool(value)

    def section(self, name: str) -> dict[str, Any]:
        value = self._value(name, {})
        if not isinstance(value, dict):
            raise self.wrong(name, value, "an object")
        return dict(value)

    def _value(self, name: str, default: object) -> Any:
        value = self._raw.get(name)
        return default if value is None else value

    def wrong(self, name: str, value: object, allowed: str) -> ModelInvalid:
        return ModelInvalid(
            f"{self._path}: {self._prefix}{name} = {value!r} is not allowed: it must be {allowed}.",
            path=str(self._path),
            field=self._prefix + name,
            value=value,
        )


def _architecture(raw: dict[str, Any], path: Path) -> str:
    named = raw.get("architectures")
    named = named if isinstance(named, list) else []
    # their code is loaded where the settings name them
    others = [] if {*SUPPORTED_ARCHITECTURES} & {*map(str, named)} else installed(ARCHITECTURES)
    for architecture in named:
        if architecture in SUPPORTED_ARCHITECTURES or architecture in others:
            return str(architecture)
    found = ", ".join(map(str, named)) or f"model_type {raw.get('model_type')!r}"
    raise UnsupportedArchitecture(
        f"{path} names the architecture {found}, which cannot be run here. "
        f"Supported: {', '.join(SUPPORTED_ARCHITECTURES)}.",
        architecture=found,
        supported=list(SUPPORTED_ARCHITECTURES),
    )


def context_length(raw: Mapping[str, Any], path: Path) -> int:
    """Positions that the model of a config.json may read. Some YaRN files still give the length
    before the stretch. Raises ModelInvalid."""
    length = _Fields(raw, path).integer("max_position_embeddings")
    scaling = _scaling(raw, path)
    if _rope_kind(scaling) != "yarn":
        return length
    field = _Fields(scaling, path, "rope_scaling.")
    original = field.number("original_max_position_embeddings", length)
    return max(length, int(original * field.number("factor", 1)))


def rope_kind(raw: Mapping[str, Any], path: Path) -> str:
    """How the model of a config.json stretches its positions by itself; "default": not at all."""
    return str(_rope_kind(_scaling(raw, path)))


def context_for(own: int, kind: str, asked: int) -> int:
    """Positions that a model reads which reads `own` by itself: as many as are asked for, or its
    own for 0. More than its own are had by YaRN. Raises InvalidParameter: too many, or the model's
    files stretch its positions already (`kind`), and twice is not known to work."""
    name = "context_tokens"
    if asked <= own:
        return asked or own
    if kind != "default":
        allowed = f"at most {own}: this model's positions are stretched already ({kind})"
        raise InvalidParameter(name, asked, allowed)
    if asked > MOST_STRETCHED * own:
        most = f"at most {MOST_STRETCHED * own}, {MOST_STRETCHED} times the model's own {own}"
        raise InvalidParameter(name, asked, most)
    return asked


def _rope(raw: Mapping[str, Any], path: Path) -> RopeConfig:
    scaling, top = _scaling(raw, path), _Fields(raw, path)
    kind, field = _rope_kind(scaling), _Fields(scaling, path, "rope_scaling.")
    if kind not in ROPE_TYPES:
        raise ModelInvalid(
            f"{path}: rope type {kind!r} is not supported. Supported: {', '.join(ROPE_TYPES)}.",
            path=str(path),
            field="rope_scaling",
            value=kind,
        )
    for name in _REQUIRED[kind]:
        field.number(name)
    for name in _OPTIONAL.get(kind, ()):
        field.number(name, 1)
    if kind == "llama3" and scaling["low_freq_factor"] >= scaling["high_freq_factor"]:
        raise field.wrong("high_freq_factor", scaling["high_freq_factor"], "above low_freq_factor")
    if kind == "yarn":
        length = top.integer("max_position_embeddings")
        original = field.number("original_max_position_embeddings", length)
        scaling["original_max_position_embeddings"] = original
        scaling["factor"] = field.number("factor", max(length, original) / original)
    theta = field.number("rope_theta", top.number("rope_theta", 10000))
    return RopeConfig(theta=theta, kind=kind, scaling=scaling)


def _scaling(raw: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Older files have `rope_theta` and `rope_scaling`, newer ones one `rope_parameters`."""
    field = _Fields(raw, path)
    return field.section("rope_parameters") or field.section("rope_scaling")


def _rope_kind(scaling: Mapping[str, Any]) -> Any:
    return scaling.get("rope_type", scaling.get("type", "default"))
