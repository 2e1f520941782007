"""The engine's greedy tokens and logits beside transformers', on the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from inference.config import ModelConfig
from inference.examination import Inspected, Inspection
from inference.examinations import Examinations
from inference.kv_cache import KVCache
from inference.types import SamplingParams
from tests.reference_model import Ours, assert_same, forced, generated, reference
from tests.tiny_llama import write_tiny_llama

ROOT = Path(__file__).resolve().parent.parent
CHAT = ROOT / "models" / "chat"
TINYSTORIES = ROOT.parent / "shared" / "models" / "tinystories-656k"

TOKENS = 256
PROMPTS = {
    CHAT: [
        "The capital of France is",
        "def fibonacci(n):\n    ",
        "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n",
        "Once upon a time there was a",
        "1 2 3 5 8 13 21",
    ],
    TINYSTORIES: [
        "Once upon a time",
        "Lily had a red ball.",
        "The dog was sad because",
        '"Can I help you?" said',
        "Tom and his mom went to",
    ],
}


def _model_and_prompt() -> Iterator[Any]:
    for directory, prompts in PROMPTS.items():
        if directory == TINYSTORIES and not directory.exists():
            continue  # data for checks that is not part of the repository
        for number, prompt in enumerate(prompts):
            yield pytest.param(directory, prompt, id=f"{directory.name}-{number}")


_loaded: dict[Path, tuple[Ours, LlamaForCausalLM]] = {}


def _both(directory: Path) -> tuple[Ours, LlamaForCausalLM]:
    if directory not in _loaded:
        ours = Ours(directory)
        if directory == CHAT:
            tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
            ours.answer_together([tokenizer.encode(text).ids for text in PROMPTS[CHAT]], TOKENS)
        _loaded[directory] = ours, reference(directory)
    return _loaded[directory]


@pytest.mark.parametrize(("directory", "prompt"), [*_model_and_prompt()])
def test_greedy_tokens_equal_transformers(
    directory: Path, prompt: str, record_property: Callable[[str, object], None]
) -> None:
    ours, model = _both(directory)
    ids = Tokenizer.from_file(str(directory / "tokenizer.json")).encode(prompt).ids
    record_property("close calls", assert_same(ours, model, ids, TOKENS))


@pytest.mark.parametrize("directory", [d for d in PROMPTS if d.exists() or d == CHAT])
def test_the_references_own_loop_gives_the_same(directory: Path) -> None:
    ours, model = _both(directory)
    prompt = Tokenizer.from_file(str(directory / "tokenizer.json")).encode("The old man").ids
    assert ours.greedy(prompt, 32)[0] == generated(model, prompt, 32)


SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "one-kv-head": {"heads": 6, "kv_heads": 1, "hidden": 96},
    "no-grouping": {"heads": 4, "kv_heads": 4},
    "explicit-head-dim": {"heads": 3, "kv_heads": 3, "head_dim": 64, "hidden": 96},
    "head-dim-128": {"heads": 2, "kv_heads": 1, "head_dim": 128, "hidden": 80},
    "untied": {"tied": False},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "sharded": {"sharded": True},
    "linear": {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "llama3": {
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    },
    "yarn": {
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 128,
        }
    },
    "yarn-mscale": {
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 128,
            "mscale": 0.7,
            "mscale_all_dim": 0.4,
            "beta_fast": 16,
            "beta_slow": 2,
        }
    },
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_random_models_equal_transformers(tmp_path: Path, shape: dict[str, Any]) -> None:
    directory = write_tiny_llama(tmp_path / "model", seed=len(str(shape)), **shape)
    ours, model = Ours(directory), reference(directory)
    generator = torch.Generator().manual_seed(7)
    for length in (1, 17, 130):
        prompt = torch.randint(0, ours.vocabulary, (length,), generator=generator).tolist()
        assert_same(ours, model, prompt, 64)


@pytest.mark.parametrize("directory", [d for d in PROMPTS if d.exists() or d == CHAT])
def test_logits_are_within_twice_torchs_own_error(directory: Path) -> None:
    """Both against float64: rms of the difference over all positions of a text."""
    ours, model = _both(directory)
    exact_model = reference(directory, torch.float64)
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(0, ours.vocabulary, (96,), generator=generator).tolist()
    prompt, answer = tokens[:32], tokens[32:]
    exact = forced(exact_model, prompt, answer)
    our_error = (ours.teacherforced(prompt, answer).double() - exact).pow(2).mean().sqrt()
    torch_error = (forced(model, prompt, answer).double() - exact).pow(2).mean().sqrt()
    assert our_error <= 2 * torch_error, f"ours {our_error:.2e}, torch {torch_error:.2e}"


def test_context_length_of_a_yarn_model_is_the_stretched_one(tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path / "model", **SHAPES["yarn"])
    assert ModelConfig.load(directory).context_length == 512


def test_the_odds_of_a_sentence_are_those_of_transformers() -> None:
    ours, model = _both(CHAT)
    tokenizer = Tokenizer.from_file(str(CHAT / "tokenizer.json"))
    prompt = tokenizer.encode("The capital of France is").ids
    answer = tokenizer.encode(" Paris, and it lies on the river Seine.").ids
    asked = Inspection((*prompt, *answer), len(prompt), len(prompt), SamplingParams())
    examinations = Examinations(ours.runner, KVCache(ours.runner.blocks), lambda: 0)
    examinations.add(1, asked)
    answers: list[object] = []
    while examinations:
        answers += [answer for _, answer in examinations.proceed()]
    (found,) = answers
    assert isinstance(found, Inspected)
    for odds, row in zip(found.tokens, forced(model, prompt, answer), strict=True):
        chances = torch.softmax(row.double(), -1)
        # logits of fp32, which sums in another order move by up to 1e-3 (see assert_same)
        assert odds.token.raw == pytest.approx(float(chances[odds.token.id]), rel=2e-3)
        assert odds.token.sampled == pytest.approx(odds.token.raw)
        assert odds.rank == 1 + int((row > row[odds.token.id]).sum())
        assert odds.alternatives[0].id == int(row.argmax())
