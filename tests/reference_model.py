"""transformers as the reference: the same weights, token by token beside ours.

Where the two largest logits of a step are closer than CLOSE, either token is right: `assert_same`
then compares the logits of both on the same tokens, and says so (it returns the step).
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from inference.kv_cache import KVCache
from inference.options import EngineOptions
from inference.runner import ModelRunner
from inference.scheduler import Chunk
from inference.sequence import Sequence
from inference.types import GenerateRequest

CLOSE = 1e-4


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

    def teacherforced(self, prompt: list[int], answer: list[int]) -> torch.Tensor:
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


def reference(directory: Path, dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    model = LlamaForCausalLM.from_pretrained(directory, dtype=dtype, attn_implementation="eager")
    model.generation_config.eos_token_id = None  # end-of-text is a token like any other here
    return model.eval()


@torch.inference_mode()
def forced(model: LlamaForCausalLM, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """Logits before each token of the answer, fp32 or fp64[len(answer), V]."""
    logits: torch.Tensor = model(torch.tensor([prompt + answer])).logits[0]
    return logits[len(prompt) - 1 : -1]


@torch.inference_mode()
def greedy(model: LlamaForCausalLM, prompt: list[int], count: int) -> list[int]:
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),  # otherwise padding is guessed from the ids
        max_new_tokens=count,
        do_sample=False,
        pad_token_id=0,
    )
    return [int(token) for token in out[0, len(prompt) :]]


def assert_same(ours: Ours, model: LlamaForCausalLM, prompt: list[int], count: int) -> int | None:
    """Equal greedy tokens; from the first close call on, equal logits instead. Returns the step of
    that close call, or None."""
    tokens, logits = ours.greedy(prompt, count)
    theirs = greedy(model, prompt, count)
    if tokens == theirs:
        return None
    first = next(i for i, (a, b) in enumerate(zip(tokens, theirs, strict=True)) if a != b)
    best = logits[first].topk(2).values
    gap = float(best[0] - best[1])
    assert gap < CLOSE, f"token {first}: {tokens[first]} for {theirs[first]}, gap {gap}"
    torch.testing.assert_close(
        ours.teacherforced(prompt, theirs), forced(model, prompt, theirs), atol=1e-3, rtol=1e-3
    )
    return first
