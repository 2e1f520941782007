"""How an engine is set up: which options exclude each other, and that the settings and the command
line reach them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.management import CommandError, call_command

import kernels
from chat import engine
from inference import probe
from inference.backend import Facts
from inference.compute_check import check_compute
from inference.engine_thread import EngineThread
from inference.errors import InvalidParameter, ModelUnavailable
from inference.management.commands import generate
from inference.offline import OfflineModel
from inference.options import EngineOptions
from tests.tiny_engine import tiny, tiny_half

__all__ = ["tiny", "tiny_half"]

HALF_SUMS = EngineOptions(compute="fp16")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "cublas"}, r"backend = 'cublas' .* one of auto, ours"),
        ({"compute": "half"}, r"compute = 'half' .* one of fp32, fp16"),
        ({"compute": "fp16", "device": "cpu"}, r"compute = 'fp16' .* except for float16 .* a GPU"),
        ({"compute": "fp16", "dtype": "bfloat16"}, r"compute = 'fp16' .* except for float16"),
        ({"compute": "fp16", "dtype": "float32"}, r"compute = 'fp16' .* except for float16"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        EngineOptions(**options)


def test_sums_in_fp16_need_float16_weights_on_a_gpu() -> None:
    check_compute(HALF_SUMS, torch.float16, "cuda")
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for device in ("cpu", "cuda"):
            check_compute(EngineOptions(), dtype, device)
    with pytest.raises(ModelUnavailable, match="these are bfloat16 on cuda") as caught:
        check_compute(HALF_SUMS, torch.bfloat16, "cuda")
    assert caught.value.fields == {"compute": "fp16", "dtype": "bfloat16", "device": "cuda"}
    with pytest.raises(ModelUnavailable, match=r"TINYLLM_COMPUTE=fp16 .* are float16 on cpu"):
        check_compute(HALF_SUMS, torch.float16, "cpu")


@pytest.fixture
def cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a GPU, which was not told so."""
    monkeypatch.setattr(probe, "probe_apart", Facts)


@pytest.mark.usefixtures("cpu_only")
def test_the_settings_reach_the_engine(settings: Any) -> None:
    settings.TINYLLM_BACKEND, settings.TINYLLM_DETERMINISTIC = "ours", True
    client = engine.build()
    assert isinstance(client, EngineThread)
    options = client._options
    assert (options.device, options.backend, options.compute) == ("cpu", "ours", "fp32")
    assert options.deterministic
    settings.TINYLLM_COMPUTE = "fp16"
    with pytest.raises(InvalidParameter, match="compute = 'fp16' is not allowed"):
        engine.build()


# manage.py generate


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EngineOptions]]:
    """The options of every model that the command loads."""
    seen: list[EngineOptions] = []

    def load(self: OfflineModel, directory: Path, kind: Any, options: EngineOptions) -> None:
        seen.append(options)
        made(self, directory, kind, options)

    made = OfflineModel.__init__
    monkeypatch.setattr(OfflineModel, "__init__", load)
    yield seen
    kernels.use_products(kernels.Products())


def said(directory: Path, *arguments: str) -> dict[str, Any]:
    out = io.StringIO()
    fixed = ("--prompt", "a", "--max-tokens", "3", "--temperature", "0", "--ignore-eos", "--json")
    call_command("generate", "--model", str(directory), *fixed, *arguments, stdout=out)
    report: dict[str, Any] = json.loads(out.getvalue())
    return report


@pytest.mark.real_engine
def test_generate_takes_the_options_of_an_engine(tiny: Path, asked: list[EngineOptions]) -> None:
    chosen = ("--device", "cpu", "--backend", "ours", "--compute", "fp32", "--deterministic")
    assert len(said(tiny, *chosen)["token_ids"]) == 3
    said(tiny)
    given = EngineOptions(device="cpu", backend="ours", compute="fp32", deterministic=True)
    assert asked == [given, EngineOptions()]


@pytest.mark.real_engine
@pytest.mark.usefixtures("asked")
def test_generate_says_what_excludes_each_other(tiny_half: Path) -> None:
    with pytest.raises(CommandError, match="compute = 'fp16' is not allowed"):
        said(tiny_half, "--compute", "fp16", "--device", "cpu")


@pytest.mark.real_engine
@pytest.mark.usefixtures("asked")
def test_generate_says_what_turns_out_when_the_model_is_there(
    tiny_half: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.loading.probe_apart", Facts)
    with pytest.raises(CommandError, match="these are float16 on cpu"):
        said(tiny_half, "--compute", "fp16")


def test_generate_explains_every_option() -> None:
    help_text = generate.Command().create_parser("manage.py", "generate").format_help()
    for option in ("--device", "--backend", "--compute", "--deterministic"):
        assert option in help_text
