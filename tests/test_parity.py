"""The engine's greedy tokens and logits beside transformers', on the same weights.

Where the two largest logits of a step are closer than CLOSE, either token is right: the test then
compares the logits of both on the same tokens, and prints that it did.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from inference.config import ModelConfig
from inference.kv_cache import KVCache
from inference.options import EngineOptions
from inference.runner import ModelRunner
from inference.scheduler import Chunk
from inference.sequence import Sequence
from inference.types import GenerateRequest
from tests.tiny_llama import write_tiny_llama

ROOT = Path(__file__).resolve().parent.parent
CHAT = ROOT / "models" / "chat"
TINYSTORIES = ROOT.parent / "shared" / "models" / "tinystories-656k"

CLOSE = 1e-4
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


class Ours:
    """The runner, driven token by token: logits of each next token."""

    def __init__(self, directory: Path) -> None:
        self.options = EngineOptions(dtype="float32", kv_tokens=1024)
        self.runner = ModelRunner(directory, self.options)
        self.vocabulary = self.runner.config.vocab_size

    def greedy(self, prompt: list[int], count: int) -> tuple[list[int], torch.Tensor]:
        """count tokens and the logits each was taken from, fp32[count, V]."""
        sequence, rows = self._sequence(prompt, len(prompt) + count), []
        for _ in range(count):
            rows.append(self._next(sequence))
            sequence.tokens.append(int(rows[-1].argmax()))
        return sequence.output_ids, torch.stack(rows)

    def teacher_forced(self, prompt: list[int], answer: list[int]) -> torch.Tensor:
        """The logits before each token of a given answer, fp32[len(answer), V]."""
        sequence, rows = self._sequence(prompt, len(prompt) + len(answer)), []
        for token in answer:
            rows.append(self._next(sequence))
            sequence.tokens.append(token)
        return torch.stack(rows)

    def _sequence(self, prompt: list[int], limit: int) -> Sequence:
        sequence = Sequence(GenerateRequest("r", "m", tuple(prompt)), limit, 0, 0)
        KVCache(self.runner.blocks).reserve(sequence, limit)
        return sequence

    def _next(self, sequence: Sequence) -> torch.Tensor:
        row = self.runner.run((Chunk(sequence, sequence.pending),))[0]
        sequence.computed = len(sequence.tokens)
        return torch.from_numpy(row).clone()


def _reference(directory: Path, dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    model = LlamaForCausalLM.from_pretrained(directory, dtype=dtype, attn_implementation="eager")
    model.generation_config.eos_token_id = None  # end-of-text is a token like any other here
    return model.eval()


@torch.inference_mode()
def _forced(model: LlamaForCausalLM, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """Logits before each token of the answer, fp32 or fp64[len(answer), V]."""
    logits: torch.Tensor = model(torch.tensor([prompt + answer])).logits[0]
    return logits[len(prompt) - 1 : -1]


@torch.inference_mode()
def _greedy(model: LlamaForCausalLM, prompt: list[int], count: int) -> list[int]:
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),  # otherwise padding is guessed from the ids
        max_new_tokens=count,
        do_sample=False,
        pad_token_id=0,
    )
    return [int(token) for token in out[0, len(prompt) :]]


def _assert_same(ours: Ours, model: LlamaForCausalLM, prompt: list[int], count: int) -> None:
    """Equal greedy tokens; from the first close call on, equal logits instead."""
    tokens, logits = ours.greedy(prompt, count)
    theirs = _greedy(model, prompt, count)
    if tokens == theirs:
        return
    first = next(i for i, (a, b) in enumerate(zip(tokens, theirs, strict=True)) if a != b)
    best = logits[first].topk(2).values
    gap = float(best[0] - best[1])
    assert gap < CLOSE, f"token {first}: {tokens[first]} for {theirs[first]}, gap {gap}"
    torch.testing.assert_close(
        ours.teacher_forced(prompt, theirs), _forced(model, prompt, theirs), atol=1e-3, rtol=1e-3
    )


_loaded: dict[Path, tuple[Ours, LlamaForCausalLM]] = {}


def _both(directory: Path) -> tuple[Ours, LlamaForCausalLM]:
    if directory not in _loaded:
        _loaded[directory] = Ours(directory), _reference(directory)
    return _loaded[directory]


@pytest.mark.parametrize(("directory", "prompt"), [*_model_and_prompt()])
def test_greedy_tokens_equal_transformers(directory: Path, prompt: str) -> None:
    from tokenizers import Tokenizer

    ours, model = _both(directory)
    ids = Tokenizer.from_file(str(directory / "tokenizer.json")).encode(prompt).ids
    _assert_same(ours, model, ids, TOKENS)


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
    ours, model = Ours(directory), _reference(directory)
    generator = torch.Generator().manual_seed(7)
    for length in (1, 17, 130):
        prompt = torch.randint(0, ours.vocabulary, (length,), generator=generator).tolist()
        _assert_same(ours, model, prompt, 64)


@pytest.mark.parametrize("directory", [d for d in PROMPTS if d.exists() or d == CHAT])
def test_logits_are_within_twice_torchs_own_error(directory: Path) -> None:
    """Both against float64: rms of the difference over all positions of a text."""
    ours, model = _both(directory)
    exact_model = _reference(directory, torch.float64)
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(0, ours.vocabulary, (96,), generator=generator).tolist()
    prompt, answer = tokens[:32], tokens[32:]
    exact = _forced(exact_model, prompt, answer)
    our_error = (ours.teacher_forced(prompt, answer).double() - exact).pow(2).mean().sqrt()
    torch_error = (_forced(model, prompt, answer).double() - exact).pow(2).mean().sqrt()
    assert our_error <= 2 * torch_error, f"ours {our_error:.2e}, torch {torch_error:.2e}"


def test_context_length_of_a_yarn_model_is_the_stretched_one(tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path / "model", **SHAPES["yarn"])
    assert ModelConfig.load(directory).context_length == 512
