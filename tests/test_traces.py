"""A forward pass that is looked at: its numbers are the engine's own, and transformers'."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inference.examination import Trace, TraceRequest
from tests.reference_model import reference
from tests.test_examinations import PROMPT, SAMPLING, asked
from tests.tiny_engine import GREEDY, TinyEngine, engines, poisoned, tiny, tiny_half

__all__ = ["engines", "poisoned", "tiny", "tiny_half"]
pytestmark = pytest.mark.real_engine


@pytest.mark.parametrize("name", ["tiny", "tiny_half"])
def test_a_trace_ends_in_the_engine_s_own_logits(
    name: str,
    engines: Any,
    request: pytest.FixtureRequest,
) -> None:
    """The products are the engine's own, keys and values are rounded as in its cache. What is left
    is the order of sums within attention, and in half precision a key or a value that it tips over
    to the next number: the bounds that engines are compared with each other in."""
    its: TinyEngine = engines(request.getfixturevalue(name))
    ids = list(range(20, 60))
    found = asked(its.engine, TraceRequest(tuple(ids), layer=1, head=1))
    assert isinstance(found, Trace)
    its.answer(ids, replace(GREEDY, max_tokens=1))
    ((logits),) = its.runner.logits.values()
    allowed = {"tiny": 1e-5, "tiny_half": 2e-3}[name] * float(np.abs(logits).max())
    for id, value in found.logits:
        assert value == pytest.approx(float(logits[id]), abs=allowed)
    assert [id for id, _ in found.logits] == [int(i) for i in np.argsort(-logits)[:10]]
    layer = found.layer
    assert [len(row) for row in layer.attention] == list(range(1, 41))
    assert all(sum(row) == pytest.approx(1, abs=1e-5) for row in layer.attention)
    # a rotation changes no length
    assert np.hypot(*layer.rotation.after) == pytest.approx(np.hypot(*layer.rotation.before))
    assert len(found.residual) == 1 + 2 * found.sizes["layers"]


def test_a_trace_sees_what_transformers_sees(tiny: Path, engines: Any) -> None:
    """Attention, queries' heads and the residual stream, of a model with grouped heads."""
    its: TinyEngine = engines()
    ids = list(range(20, 40))
    model = reference(tiny)
    with torch.inference_mode():
        seen = model(torch.tensor([ids]), output_attentions=True, output_hidden_states=True)
    for layer, head in ((0, 0), (1, 3)):
        found = asked(its.engine, TraceRequest(tuple(ids), layer, head))
        assert isinstance(found, Trace)
        for row, expected in zip(
            found.layer.attention, seen.attentions[layer][0, head], strict=True
        ):
            assert row == pytest.approx(expected[: len(row)].tolist(), abs=1e-5)
        before = seen.hidden_states[layer][0, -1]
        assert found.layer.before == pytest.approx(before[:64].tolist(), abs=1e-4)
        # after each whole layer but the last, whose state transformers norms
        sizes = [float(state[0, -1].pow(2).mean().sqrt()) for state in seen.hidden_states[:-1]]
        assert found.residual[::2][: len(sizes)] == pytest.approx(sizes, rel=1e-4)


def test_a_trace_shows_each_stage_and_the_token_that_is_drawn(engines: Any) -> None:
    its: TinyEngine = engines()
    sampling = replace(SAMPLING, seed=11)
    found = asked(its.engine, TraceRequest(tuple(PROMPT), 0, 0, sampling))
    assert isinstance(found, Trace)
    names = ["repetition_penalty", "temperature", "top_k", "top_p", "min_p"]
    assert [stage.name for stage in found.stages] == names
    survivors = [stage.survivors for stage in found.stages]
    assert survivors == sorted(survivors, reverse=True)
    assert survivors[2] == 20
    drawn = its.answer(PROMPT, replace(sampling, max_tokens=1, ignore_eos=True)).token_ids
    assert [found.token] == drawn
    assert 0 < found.uniform < 1
