"""How a sentence model lies on the disk: an encoder, and what is made of its states.

As sentence-transformers writes it: `modules.json` names the steps, `1_Pooling/config.json` says how
a text's states become one vector. Nothing of a model is run to read it. No torch here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from inference.errors import ModelInvalid, UnsupportedArchitecture
from inference.paths import is_file

MODULES = "modules.json"
# model_type -> places before the first position, as its embeddings count from the padding's id.
_RESERVED = {"bert": 0, "distilbert": 0, "mpnet": 2, "roberta": 2, "xlm-roberta": 2}
_POOLINGS: dict[str, Literal["mean", "cls"]] = {
    "mean": "mean",
    "mean_tokens": "mean",
    "cls": "cls",
    "cls_token": "cls",
}
_MODE = "pooling_mode_"
_STEPS = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])


@dataclass(frozen=True, slots=True)
class SentenceLayout:
    """normalizes: its vectors have length 1. context_length: tokens that it reads, with its own
    marks. vocabulary: ids are below it."""

    pooling: Literal["mean", "cls"]
    normalizes: bool
    lower_cases: bool
    context_length: int
    vocabulary: int


def is_sentence_model(directory: Path) -> bool:
    return is_file(directory / MODULES)


def read_layout(directory: Path) -> SentenceLayout:
    """Raises ModelInvalid, UnsupportedArchitecture."""
    config = _object(directory / "config.json")
    kind = config.get("model_type")
    if kind not in _RESERVED:
        raise UnsupportedArchitecture(
            f"{directory / 'config.json'}: {kind!r} is no encoder that can be run here. It must be "
            f"one of {', '.join(_RESERVED)}.",
            architecture=str(kind),
            supported=list(_RESERVED),
        )
    pooling, normalizes = _steps(directory)
    bert = _object(directory / "sentence_bert_config.json", required=False)
    tokenizer = _object(directory / "tokenizer_config.json", required=False)
    positions = _count(config, "max_position_embeddings", directory) - _RESERVED[kind]
    lengths = (positions, bert.get("max_seq_length"), tokenizer.get("model_max_length"))
    return SentenceLayout(
        pooling=pooling,
        normalizes=normalizes,
        lower_cases=bert.get("do_lower_case") is True,
        # many a tokenizer says 1e30
        context_length=int(min(each for each in lengths if isinstance(each, int | float) and each)),
        vocabulary=_count(config, "vocab_size", directory),
    )


def _steps(directory: Path) -> tuple[Literal["mean", "cls"], bool]:
    """Its pooling, and whether it normalizes. Raises ModelInvalid."""
    path = directory / MODULES
    try:
        modules = [(each["type"].rpartition(".")[2], each["path"]) for each in _json(path)]
    except (TypeError, KeyError, AttributeError):
        raise ModelInvalid(f"{path} is not a list of modules.", path=str(path)) from None
    steps = [kind for kind, _ in modules]
    if steps not in _STEPS or modules[0][1]:
        raise ModelInvalid(
            f"{path}: {', '.join(steps)} cannot be run here. It must be a Transformer in the "
            "folder itself, Pooling, and Normalize or nothing.",
            path=str(path),
        )
    return _pooling(directory / Path(modules[1][1]).name / "config.json"), len(steps) == 3


def _pooling(path: Path) -> Literal["mean", "cls"]:
    """Raises ModelInvalid."""
    config = _object(path)
    named = config.get("pooling_mode")
    modes = [key.removeprefix(_MODE) for key, on in config.items() if key.startswith(_MODE) and on]
    modes = [named] if isinstance(named, str) else modes
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise ModelInvalid(
            f"{path}: a pooling of {', '.join(modes) or 'nothing'} cannot be computed here. It "
            "must be mean or cls.",
            path=str(path),
        )
    return _POOLINGS[modes[0]]


def _count(config: dict[str, Any], name: str, directory: Path) -> int:
    """Raises ModelInvalid."""
    value = config.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        path = directory / "config.json"
        raise ModelInvalid(f"{path}: {name} = {value!r} is no count.", path=str(path))
    return value


def _object(path: Path, *, required: bool = True) -> dict[str, Any]:
    """Raises ModelInvalid."""
    if not required and not path.exists():
        return {}
    value = _json(path)
    if not isinstance(value, dict):
        raise ModelInvalid(f"{path} is not a JSON object.", path=str(path))
    return value


def _json(path: Path) -> Any:
    """Raises ModelInvalid."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelInvalid(f"{path} cannot be read ({error}).", path=str(path)) from error
