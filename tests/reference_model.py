"""transformers as the reference: the same weights, token by token beside ours.

Where the two largest logits of a step are closer than CLOSE, either token is right. The logits are
compared at every step.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import LlamaForCausalLM

from inference.kv_cache import KVCache
from inference.options import EngineOptions
from inference.runner import Array, ModelRunner
from inference.scheduler import Chunk
from inference.sequence import Sequence
from inference.types import GenerateRequest

CLOSE = 1e-4


class Ours:
    """The runner, driven token by token: logits of each next token."""

    def __init__(self, directory: Path) -> None:
        self.options = EngineOptions(dtype="float32", kv_tokens=2048)
        self.runner = ModelRunner(directory, self.options)
        self.vocabulary = self.runner.config.vocab_size
        self._known: dict[tuple[tuple[int, ...], int], tuple[list[int], torch.Tensor]] = {}

    def answer_together(self, prompts: list[list[int]], count: int) -> None:
        """What `greedy` will say of these, computed in one batch: each weight is read once for all
        of them."""
        cache = KVCache(self.runner.blocks, reuse=False)
        rows: list[Array] = []
        sequences = [self._blank(prompt, len(prompt) + count) for prompt in prompts]
        for sequence in sequences:
            assert cache.grow(sequence, sequence.limit)
        for _ in range(count):
            rows.append(self.runner.run(tuple(Chunk(s, s.pending) for s in sequences)).copy())
            for sequence, row in zip(sequences, rows[-1], strict=True):
                sequence.computed = len(sequence.tokens)
                sequence.tokens.append(int(row.argmax()))
        for i, (prompt, sequence) in enumerate(zip(prompts, sequences, strict=True)):
            logits = torch.from_numpy(np.stack([row[i] for row in rows]))
            self._known[tuple(prompt), count] = sequence.output_ids, logits

    def greedy(self, prompt: list[int], count: int) -> tuple[list[int], torch.Tensor]:
        """count tokens and the logits each was taken from, fp32[count, V]."""
        if known := self._known.get((tuple(prompt), count)):
            return known
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

    @staticmethod
    def _blank(prompt: list[int], limit: int) -> Sequence:
        return Sequence(GenerateRequest("r", "m", tuple(prompt)), limit, 0, 0)

    def _sequence(self, prompt: list[int], limit: int) -> Sequence:
        sequence = self._blank(prompt, limit)
        KVCache(self.runner.blocks).grow(sequence, limit)
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


def assert_same(ours: Ours, model: LlamaForCausalLM, prompt: list[int], count: int) -> int:
    """Our greedy tokens are the reference's: after each prefix of ours, its largest logit is that
    of our next token. One pass over the whole answer shows that for every step. Returns how many
    steps were close calls, where the reference has another token within CLOSE of its best."""
    tokens, logits = ours.greedy(prompt, count)
    expected = forced(model, prompt, tokens)
    best = expected.max(-1).values
    gaps = best - expected[torch.arange(count), torch.tensor(tokens)]
    worst = int(gaps.argmax())
    assert gaps[worst] < CLOSE, (
        f"token {worst} is {tokens[worst]}, the reference takes {int(expected[worst].argmax())} "
        f"with a logit that is {float(gaps[worst]):.2g} larger"
    )
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-3)
    return int((gaps > 0).sum())


@torch.inference_mode()
def generated(model: LlamaForCausalLM, prompt: list[int], count: int) -> list[int]:
    """What the reference's own greedy loop gives, token by token with its cache."""
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),  # otherwise padding is guessed from the ids
        max_new_tokens=count,
        do_sample=False,
        pad_token_id=0,
    )
    return [int(token) for token in out[0, len(prompt) :]]
