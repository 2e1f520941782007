"""Rows behind guesses are sampled together as they would be one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from inference.draft_checks import draft_rows
from inference.scheduler import Chunk
from inference.sequence import Sequence as Tokens
from inference.types import GenerateRequest, SamplingParams
from kernels import DraftRows, DraftTable, SampledRows, SamplingTable, sample

VOCAB, SEATS = 50, 6
PUNISHED = SamplingParams(
    temperature=1.5, repetition_penalty=1.4, presence_penalty=0.6, frequency_penalty=0.8
)
KINDS = {
    "greedy": SamplingParams(temperature=0),
    "sampled": SamplingParams(temperature=1.2, top_k=20, top_p=0.95),
    "punished": PUNISHED,
    "biased": SamplingParams(temperature=0.9, logit_bias={3: 4.0, 7: -90.0}),
}
PROMPT = (4, 5, 6, 5)


def sequence(seat: int, how: SamplingParams) -> Tokens:
    made = Tokens(GenerateRequest(f"{seat}", "m", PROMPT, how), 40, seat, 100 + seat)
    made.computed = len(PROMPT) - 1
    return made


def table(seated: dict[int, Tokens]) -> SamplingTable:
    its = SamplingTable(SEATS, VOCAB)
    for seat, tokens in seated.items():
        how = tokens.request.sampling
        its.join(seat, how, seed=tokens.seed, prompt=PROMPT, output=tokens.output_ids)
    return its


def one_after_the_other(
    its: SamplingTable, seat: int, rows: torch.Tensor, guesses: Sequence[int]
) -> list[int]:
    """What a seat samples, one token a step, as long as it is what was guessed."""
    said: list[int] = []
    for row, guess in zip(rows, (*guesses, None), strict=True):
        seats = torch.tensor([seat], dtype=torch.int32)
        known = torch.tensor([len(PROMPT) + len(said)], dtype=torch.int32)
        sample(row[None].clone(), its, SampledRows(seats, known))
        said.append(int(its.sampled[seat]))
        if said[-1] != guess:
            break
    return said


def together(
    its: SamplingTable, seated: dict[int, Tokens], logits: torch.Tensor, drafts: list[list[int]]
) -> list[int]:
    chunks = [Chunk(s, 1, tuple(d)) for s, d in zip(seated.values(), drafts, strict=True)]
    arrays = draft_rows(chunks, list(seated))
    rows = DraftRows(arrays[0], *map(torch.from_numpy, map(np.ascontiguousarray, arrays)))
    tokens: list[int] = DraftTable(its, 32).sample(logits.clone(), rows).tolist()
    return tokens


@pytest.mark.parametrize("wrong_from", [0, 1, 3, 5])
def test_rows_of_several_seats(wrong_from: int) -> None:
    """Guesses are right up to a place, which is another one for each seat."""
    seated = {
        seat: sequence(seat, how) for seat, how in zip((4, 0, 2, 5), KINDS.values(), strict=True)
    }
    logits = 3 * torch.randn(4, 6, VOCAB, generator=torch.Generator().manual_seed(wrong_from))
    plain, drafts = table(seated), []
    for i, seat in enumerate(seated):
        right: list[int] = []
        for _ in range(5):  # what it says if every guess is right
            said = one_after_the_other(table(seated), seat, logits[i, : len(right) + 1], right)
            right.append(said[-1])
        at = (wrong_from + i) % 6
        drafts.append([*right[:at], *((token + 1) % VOCAB for token in right[at:])])
    its = table(seated)
    tokens = together(its, seated, logits.reshape(-1, VOCAB), drafts)
    for i, (seat, draft) in enumerate(zip(seated, drafts, strict=True)):
        said = one_after_the_other(plain, seat, logits[i], draft)
        assert len(said) == (wrong_from + i) % 6 + 1
        assert tokens[6 * i : 6 * i + len(said)] == said
    assert its.sampled.equal(plain.sampled)
    assert its.counts is not None
    assert plain.counts is not None
    punished = list(seated)[2]
    assert its.counts[punished].equal(plain.counts[punished])


def test_a_row_that_overflows_ends_its_seat_alone() -> None:
    seated = {seat: sequence(seat, PUNISHED) for seat in (1, 3)}
    logits = torch.randn(6, VOCAB)
    logits[0] = torch.nan
    its = table(seated)
    tokens = together(its, seated, logits, [[7, 8], [9, 9]])
    assert tokens[0] == its.sampled[1] == -1
    assert its.sampled[3] == tokens[3] != -1
    assert its.counts is not None
    assert its.counts[1].clamp(min=0).sum() == 0
