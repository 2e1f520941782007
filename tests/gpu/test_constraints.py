"""Answers of a form on a GPU: kept beside free answers, which stay what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import kernels
from inference import prompt_codec
from inference.config import ModelConfig
from inference.cuda_runner import CudaRunner
from inference.engine import Engine
from inference.loading import products_of
from inference.offline import run_to_end
from inference.options import EngineOptions
from inference.types import (
    Constraint,
    Delta,
    Finished,
    GenerateRequest,
    ModelKind,
    SamplingParams,
)
from inference.weights import Weights
from tests.tiny_llama import write_tiny_llama

pytestmark = pytest.mark.gpu

OPTIONS = EngineOptions(kv_tokens=4096, max_batch=8, step_tokens=128, deterministic=True)
PROMPT = (40, 41, 42, 40, 41, 42)
FREE = SamplingParams(temperature=1.2, seed=3, max_tokens=40, ignore_eos=True)
FORM = r"(ab|cd){2,9}"
BOUND = replace(FREE, constraint=Constraint("regex", FORM), repetition_penalty=1.2, top_k=40)


@pytest.fixture(autouse=True)
def defaults_afterwards() -> Iterator[None]:
    yield
    kernels.use_products(kernels.Products(), kernels.WayTable())


def test_a_form_is_kept_beside_free_answers(tmp_path: Path) -> None:
    kernels.use_products(products_of(OPTIONS), kernels.WayTable())
    folder = write_tiny_llama(tmp_path / "tiny")
    runner = CudaRunner(ModelConfig.load(folder), Weights(folder), OPTIONS)
    runner.warm_up()
    codec = prompt_codec.load(folder, ModelKind.CHAT, "weights", "auto")
    engine = Engine(runner, codec, OPTIONS)

    def answers(samplings: dict[str, SamplingParams]) -> dict[str, str]:
        texts, ends = dict.fromkeys(samplings, ""), dict[str, str]()

        def take(events: list[tuple[str, object]]) -> None:
            for name, event in events:
                if isinstance(event, Delta):
                    texts[name] += event.text
                elif isinstance(event, Finished):
                    ends[name] = event.reason

        asked = [GenerateRequest(name, "tiny", PROMPT, how) for name, how in samplings.items()]
        run_to_end(engine, asked, take)  # type: ignore[arg-type]
        assert all((ends[name] == "stop") == (how is BOUND) for name, how in samplings.items())
        return texts

    free, bound = answers({"free": FREE})["free"], answers({"bound": BOUND})["bound"]
    assert re.fullmatch(FORM, bound)
    together = answers({"free": FREE, "bound": BOUND, "other": FREE, "last": BOUND})
    assert together == {"free": free, "bound": bound, "other": free, "last": bound}
