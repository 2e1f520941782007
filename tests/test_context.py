"""Contexts other than a model's own: cut, stretched by YaRN, and long ones beside other streams."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from django.core.management import CommandError, call_command
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from chat import engine
from inference.config import ModelConfig
from inference.errors import ContextLengthExceeded, InvalidParameter
from inference.memory_budget import suited
from inference.offline import OfflineModel
from inference.options import EngineOptions, site_options
from inference.rope import rope_tables
from inference.scoring import log_probabilities
from inference.types import Delta, ModelKind, SamplingParams
from tests.reference_model import forced, reference
from tests.test_parity import CHAT
from tests.tiny_engine import TinyEngine
from tests.tiny_llama import write_tiny_llama

GREEDY = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)
YARN = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 512}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that reads 512 tokens."""
    return write_tiny_llama(tmp_path_factory.mktemp("context") / "tiny")


def tokens(count: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    drawn: list[int] = torch.randint(3, 512, (count,), generator=generator).tolist()
    return drawn


def loaded(directory: Path, context: int = 0, kind: ModelKind = ModelKind.CHAT) -> OfflineModel:
    options: dict[str, Any] = {"device": "cpu", "threads": 1, "kv_tokens": 2048}
    return OfflineModel(directory, kind, EngineOptions(**options, context_tokens=context))


# how far a model is stretched


@pytest.mark.parametrize("theta", [10000.0, 100000.0])
@pytest.mark.parametrize("factor", [2, 2.5, 32])
def test_stretched_positions_are_those_of_transformers(
    tiny: Path, theta: float, factor: float
) -> None:
    plain = ModelConfig.load(tiny)
    plain = replace(plain, rope=replace(plain.rope, theta=theta), head_dim=64)
    length = int(512 * factor)
    cos, sin = rope_tables(plain.reading(length))
    parameters = {**YARN, "factor": factor, "rope_theta": theta}
    its = LlamaConfig(
        hidden_size=256,
        num_attention_heads=4,
        head_dim=64,
        max_position_embeddings=length,
        rope_parameters=parameters,
    )
    rotary = LlamaRotaryEmbedding(its)
    expected = rotary(torch.zeros(1), torch.arange(length)[None])
    # the last bit of a frequency counts as often as the position says
    rounding = (torch.outer(torch.arange(length), rotary.inv_freq) + 1) * 2**-22
    for ours, theirs in zip((cos, sin), expected, strict=True):
        assert ours.shape == (length, 32)
        assert ((ours - theirs[0, :, :32]).abs() <= rounding).all()
    assert not torch.allclose(cos[:512], rope_tables(plain)[0])


def test_its_own_limit_is_not_touched(tiny: Path) -> None:
    own = ModelConfig.load(tiny)
    assert ModelConfig.load(tiny, 0) == ModelConfig.load(tiny, 512) == own
    cut = ModelConfig.load(tiny, 100)
    assert (cut.context_length, cut.rope) == (100, own.rope)


@pytest.mark.parametrize("scaling", [{"rope_type": "yarn"}, YARN])
def test_a_model_that_is_stretched_already_can_be_cut(
    tmp_path: Path, scaling: dict[str, Any]
) -> None:
    directory = write_tiny_llama(tmp_path / "model", context=1024, rope_scaling=scaling)
    whole, cut = ModelConfig.load(directory), ModelConfig.load(directory, 600)
    assert cut.context_length == 600
    for one, other in zip(rope_tables(whole), rope_tables(cut), strict=True):
        assert one[:600].equal(other)


@pytest.mark.parametrize(
    ("scaling", "asked", "allowed"),
    [
        (None, 32 * 512 + 1, "at most 16384, 32 times the model's own 512"),
        (YARN, 1025, r"at most 1024: this model's positions are stretched already \(yarn\)"),
        ({"type": "linear", "factor": 2.0}, 513, r"at most 512: .* already \(linear\)"),
    ],
)
def test_what_cannot_be_is_refused_by_engine_and_codec(
    tmp_path: Path, scaling: dict[str, Any] | None, asked: int, allowed: str
) -> None:
    directory = write_tiny_llama(tmp_path / "model", rope_scaling=scaling)
    message = f"context_tokens = {asked} is not allowed: it must be {allowed}"
    with pytest.raises(InvalidParameter, match=message):
        ModelConfig.load(directory, asked)
    with pytest.raises(InvalidParameter, match=message):
        loaded(directory, asked)
    with pytest.raises(InvalidParameter, match=r"context_tokens = -1 .* or at least 1"):
        EngineOptions(context_tokens=-1)


def test_beyond_its_limit_a_model_writes_as_one_that_its_files_stretch(
    tiny: Path, tmp_path: Path
) -> None:
    prompt, plain = tokens(600), loaded(tiny)
    with pytest.raises(ContextLengthExceeded) as refused:
        plain.generate(prompt, GREEDY)
    assert refused.value.fields == {"prompt_tokens": 600, "context_length": 512}
    stretched = loaded(tiny, 1024)
    assert (stretched.codec.context_length, stretched.codec.fingerprint.stretched) == (1024, "1024")
    assert plain.codec.fingerprint == replace(stretched.codec.fingerprint, stretched="")
    told = loaded(write_tiny_llama(tmp_path / "told", rope_scaling=YARN))
    answers = [its.generate(prompt, GREEDY).token_ids for its in (stretched, told)]
    assert answers[0] == answers[1]
    assert len(answers[0]) == 8
    short = prompt[:300]
    known = [log_probabilities(its, short[:200], short[200:]) for its in (plain, stretched)]
    assert np.abs(known[0] - known[1]).max() > 1e-3  # other positions: another model


def test_a_limit_that_is_cut_refuses_longer_prompts_and_ends_answers(tiny: Path) -> None:
    its = loaded(tiny, 100)
    assert (its.codec.context_length, its.codec.fingerprint.stretched) == (100, "")
    with pytest.raises(ContextLengthExceeded) as refused:
        its.generate(tokens(100), GREEDY)
    assert refused.value.fields == {"prompt_tokens": 100, "context_length": 100}
    answer = its.generate(tokens(95), GREEDY)
    assert (len(answer.token_ids), answer.finished.reason) == (5, "length")
    assert answer.token_ids == loaded(tiny).generate(tokens(95), GREEDY).token_ids[:5]


def test_settings_and_command_line_reach_the_engine(tiny: Path, settings: Any) -> None:
    assert site_options(settings, "cpu").context_tokens == 0
    settings.TINYLLM_CONTEXT_TOKENS = 20000
    options = site_options(settings, "cpu")
    suiting, _ = suited(CHAT, options, on_gpu=False, budget=10**10)
    assert (options.context_tokens, suiting.kv_tokens) == (20000, 20000)
    out = io.StringIO()
    fixed = ("generate", "--model", str(tiny), "--prompt", "a" * 600, "--max-tokens", "3", "--json")
    call_command(*fixed, "--ignore-eos", "--device", "cpu", "--context", "1024", stdout=out)
    assert json.loads(out.getvalue())["output_tokens"] == 3
    with pytest.raises(CommandError, match="at most 16384, 32 times"):
        call_command(*fixed, "--context", "17000")
    codec = loaded(tiny, 1024).codec
    assert engine.fingerprint(codec)["stretched"] == "1024"


# probabilities


def test_probabilities_are_those_of_a_reference_in_float64(tiny: Path) -> None:
    """Also where a text is read in pieces, and where its beginning is in the cache already."""
    its, text = loaded(tiny, 1024), tokens(700)
    prompt, answer = text[:640], text[640:]
    first, again = (log_probabilities(its, prompt, answer) for _ in range(2))
    own = LlamaConfig.from_pretrained(tiny)
    own.rope_parameters = {**YARN, "rope_theta": 10000.0}
    exact = reference(tiny, torch.float64)
    exact.model.rotary_emb = LlamaRotaryEmbedding(own)
    logits = forced(exact, prompt, answer).double().log_softmax(-1)
    expected = logits[torch.arange(len(answer)), torch.tensor(answer)].numpy()
    assert np.abs(first - expected).max() < 1e-4
    assert np.abs(again - expected).max() < 1e-4
    assert its.engine.cache.free_blocks == its.engine.cache.total_blocks
    its.engine.cache.check_integrity()
    with pytest.raises(ContextLengthExceeded, match="1030 tokens"):
        log_probabilities(its, tokens(1000), tokens(30))


# beside others


@pytest.mark.real_engine
def test_while_a_very_long_prompt_is_read_a_stream_gets_a_token_in_every_step(
    tmp_path: Path,
) -> None:
    directory = write_tiny_llama(
        tmp_path / "wide", context=32768, layers=1, heads=1, kv_heads=1, hidden=16, intermediate=16
    )
    its = TinyEngine(directory, kv_tokens=33000, step_tokens=512)
    endless = SamplingParams(temperature=0, ignore_eos=True)
    its.add("stream", [5, 6, 7], endless)
    its.run(lambda: bool(its.answers["stream"].token_ids))
    its.add("long", tokens(30_000), GREEDY)
    steps = 0
    while not its.answers["long"].token_ids:
        before = len(its.answers["stream"].of(Delta))
        its.step()
        steps += 1
        assert len(its.answers["stream"].of(Delta)) == before + 1
    assert steps == -(-30_000 // 128)  # a quarter of a step is for prompts
    assert its.runner.computed("long")[:steps] == [128] * (steps - 1) + [30_000 - 128 * (steps - 1)]
    its.engine.cancel("stream")
    its.run()
    assert its.answers["long"].finished.prompt_tokens == 30_000
