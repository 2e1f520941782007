"""`generate --debug-layers`: a healthy model passes in every precision, and a fault is named where
it is made, not where it shows."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.management import CommandError, call_command

import kernels
from inference.architectures.llama import Llama
from inference.layer_check import Part, checked
from inference.offline import OfflineModel
from inference.options import EngineOptions
from inference.runner import ModelRunner
from inference.types import ModelKind
from tests.fixtures_models import chat_model_dir
from tests.tiny_engine import tiny, tiny_half
from tests.tiny_llama import write_tiny_llama

__all__ = ["chat_model_dir", "tiny", "tiny_half"]
pytestmark = pytest.mark.real_engine

IDS = [9, 8, 7, *range(30, 60)]
LAYERS = 4


@pytest.fixture(scope="module")
def deeper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("layers") / "deeper", layers=LAYERS)


def loaded(directory: Path, **options: Any) -> OfflineModel:
    chosen = EngineOptions(device="cpu", threads=1, kv_tokens=256, **options)
    return OfflineModel(directory, ModelKind.CHAT, chosen)


def first(model: OfflineModel, directory: Path) -> str | None:
    return next((part.name for part in checked(model, directory, IDS) if part.departs), None)


def llama(model: OfflineModel) -> Any:
    assert isinstance(model.runner, ModelRunner)
    return model.runner._architecture


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_healthy_model_agrees(deeper: Path, dtype: str) -> None:
    parts = list(checked(loaded(deeper, dtype=dtype), deeper, IDS))
    assert [part.name for part in parts if part.departs] == []
    halves = [f"layer {i}, {half}" for i in range(LAYERS) for half in ("attention", "feed-forward")]
    ends = ["logits", "the last token by itself"]
    assert [part.name for part in parts] == ["embedding", *halves, *ends]


def test_other_shapes_and_one_token_agree(tmp_path: Path, tiny_half: Path) -> None:
    biased = write_tiny_llama(tmp_path / "b", attention_bias=True, mlp_bias=True, tied=False)
    assert first(loaded(biased), biased) is None
    assert first(loaded(tiny_half), tiny_half) is None
    names = [part.name for part in checked(loaded(tiny_half), tiny_half, [5])]
    assert names[-1] == "logits"


def test_the_chat_model_agrees(chat_model_dir: Path) -> None:
    assert first(loaded(chat_model_dir), chat_model_dir) is None


@pytest.mark.parametrize("layer", [0, 2, LAYERS - 1])
@pytest.mark.parametrize(
    ("linear", "half"),
    [("down", "feed-forward"), ("gate_up", "feed-forward"), ("attention_out", "attention")],
)
def test_a_wrong_matrix_is_named(deeper: Path, layer: int, linear: str, half: str) -> None:
    model = loaded(deeper)
    (matrix, *_) = getattr(llama(model)._layers[layer], linear).weights.tensors
    kept = matrix.clone()
    matrix[3] *= 1.5
    try:
        assert first(model, deeper) == f"layer {layer}, {half}"
    finally:
        matrix.copy_(kept)


def test_a_wrong_kernel_is_named(deeper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that reads the last token's neighbour in its second call."""
    model, calls, attention = loaded(deeper), [0], kernels.attention

    def wrong(q: torch.Tensor, *rest: Any) -> torch.Tensor:
        calls[0] += 1
        out = attention(q, *rest)
        if calls[0] == 2:
            out[-1] = out[-2]
        return out

    monkeypatch.setattr(kernels, "attention", wrong)
    assert first(model, deeper) == "layer 1, attention"


def test_what_is_wrong_for_one_token_alone_is_named(
    tiny_half: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, forward = loaded(tiny_half), Llama.forward

    def wrong(its: Llama, batch: Any, caches: Any) -> torch.Tensor:
        logits = forward(its, batch, caches)
        return logits.roll(1, -1) if batch.token_ids.numel() == 1 else logits

    monkeypatch.setattr(Llama, "forward", wrong)
    assert first(model, tiny_half) == "the last token by itself"


def test_numbers_that_overflow_depart() -> None:
    assert Part("logits", float("nan"), 1.0).departs


def said(directory: Path, *more: str) -> str:
    out = StringIO()
    call_command(
        "generate", "--model", str(directory), "--prompt", "Hello, hello!", "--debug-layers",
        "--device", "cpu", *more, stdout=out,
    )  # fmt: skip
    return out.getvalue()


def test_the_command_names_the_first(deeper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "DEPARTS" not in said(deeper)
    told = json.loads(said(deeper, "--json"))
    assert told["departs"] is None
    assert len(told["parts"]) == 2 * LAYERS + 3
    take = Llama._attend

    def wrong(its: Llama, layer: Any, *rest: Any) -> torch.Tensor:
        out = take(its, layer, *rest)
        return out * 1.01 if layer is its._layers[2] else out

    monkeypatch.setattr(Llama, "_attend", wrong)
    with pytest.raises(CommandError, match="layer 2, attention"):
        said(deeper)
