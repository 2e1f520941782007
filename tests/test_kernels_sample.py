"""The sampling op's reference against the engine's sampler, and the table that seats are in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from inference import sampler
from inference.types import SamplingParams
from kernels.sample import IN_PROMPT, DecodeRows, SampledRows, SamplingTable, sample, uniform

INFINITE, NAN = float("inf"), float("nan")
GREEDY = SamplingParams(temperature=0)


def rows_of(seats: list[int], lengths: list[int], decode: DecodeRows | None = None) -> SampledRows:
    numbers = torch.tensor([seats, lengths], dtype=torch.int32)
    return SampledRows(numbers[0], numbers[1], decode)


def random_params(random: np.random.Generator, vocab: int) -> SamplingParams:
    tokens = random.integers(0, vocab, random.choice([0, 0, 3]))
    return SamplingParams(
        temperature=random.choice([0, 0.2, 1, 1.6]),
        top_k=int(random.choice([0, 1, 4, 30, vocab, 10**15])),
        top_p=random.choice([1, 1e-9, 0.4, 0.9, 0.999]),
        min_p=random.choice([0, 0, 0.01, 0.3, 1]),
        repetition_penalty=random.choice([1, 1.3, 0.8]),
        presence_penalty=random.choice([0, 0.7, -0.3]),
        frequency_penalty=random.choice([0, 0.4, -0.1]),
        logit_bias={int(token): float(random.normal(0, 4)) for token in tokens},
    )


def random_logits(random: np.random.Generator, vocab: int) -> torch.Tensor:
    logits = random.normal(0, 3, vocab)
    if random.random() < 0.3:
        logits = np.round(logits)
    if random.random() < 0.2:
        logits[random.random(vocab) < 0.9] = -INFINITE
    logits[random.integers(vocab)] = 1.5
    return torch.from_numpy(logits.astype(np.float32))


@pytest.mark.parametrize("seed", range(40))
def test_the_reference_draws_what_the_sampler_draws(seed: int) -> None:
    """Eight sequences side by side for some steps, each token counted for the next."""
    random = np.random.default_rng(seed)
    vocab, seats = int(random.choice([5, 60, 2500])), 8
    table = SamplingTable(seats, vocab)
    params = [random_params(random, vocab) for _ in range(seats)]
    seeds = random.integers(2**63, size=seats).tolist()
    prompts = [random.integers(0, vocab, 1 + seat * 3).tolist() for seat in range(seats)]
    outputs: list[list[int]] = [random.integers(0, vocab, seat % 3).tolist() for seat in range(8)]
    for seat in range(seats):
        table.join(seat, params[seat], seed=seeds[seat], prompt=prompts[seat], output=outputs[seat])
    order = random.permutation(seats).tolist()
    for _ in range(5):
        logits = torch.stack([random_logits(random, vocab) for _ in range(seats)])
        expected = [
            sampler.sample(
                logits[row].numpy(),
                params[seat],
                prompt=prompts[seat],
                output=outputs[seat],
                seed=seeds[seat],
            )
            for row, seat in enumerate(order)
        ]
        lengths = [len(prompts[seat]) + len(outputs[seat]) for seat in order]
        sample(logits, table, rows_of(order, lengths))
        assert [int(table.sampled[seat]) for seat in order] == expected
        for seat, token in zip(order, expected, strict=True):
            outputs[seat].append(token)


def test_the_stream_of_numbers_is_that_of_the_sampler() -> None:
    for seed in (0, 1, 2**32, 2**63 - 1):
        for position in (0, 1, 77, 2**32 + 5):
            assert uniform(seed, position) == sampler.uniform(seed, position)


def test_counts_tell_prompt_from_answer() -> None:
    table = SamplingTable(3, 6)
    table.join(0, GREEDY, seed=0, prompt=[1, 1], output=[2])
    assert not table.layout.counts
    table.join(1, replace(GREEDY, presence_penalty=0.1), seed=0, prompt=[1, 1, 2], output=[2, 4, 4])
    assert table.counts is not None
    assert table.counts[1].tolist() == [0, IN_PROMPT, IN_PROMPT + 1, 0, 2, 0]
    sample(torch.eye(6)[4:5], table, rows_of([1], [6]))
    assert table.counts[1].tolist() == [0, IN_PROMPT, IN_PROMPT + 1, 0, 3, 0]
    table.join(1, replace(GREEDY, presence_penalty=0.1), seed=0, prompt=[5], output=[])
    assert table.counts[1].tolist() == [0, 0, 0, 0, 0, IN_PROMPT]
    assert not table.counts[[0, 2]].any()


def test_the_layout_says_when_a_captured_step_no_longer_holds() -> None:
    table = SamplingTable(2, 50)
    assert table.layout == (False, False, 0)
    table.join(0, GREEDY, seed=0, prompt=[0], output=[])
    assert table.layout == (False, False, 0)
    table.join(1, replace(GREEDY, temperature=1, min_p=0.1), seed=0, prompt=[0], output=[])
    assert table.layout == (True, False, 0)
    biased = replace(GREEDY, logit_bias={1: 1.0, 2: 1.0, 30: 50.0}, frequency_penalty=1)
    table.join(1, biased, seed=0, prompt=[0], output=[])
    assert table.layout == (False, True, 4)
    table.join(
        0, replace(GREEDY, logit_bias=dict.fromkeys(range(9), 1.0)), seed=0, prompt=[0], output=[]
    )
    assert table.layout == (False, True, 16)
    sample(torch.zeros(2, 50), table, rows_of([1, 0], [1, 1]))
    assert table.sampled.tolist() == [0, 30], "a bias moves along when there is more room"
    table.leave(1)
    sample(torch.zeros(2, 50), table, rows_of([1, 0], [1, 1]))
    assert table.sampled.tolist() == [0, 0]


@pytest.mark.parametrize("value", [NAN, INFINITE, -INFINITE])
@pytest.mark.parametrize("temperature", [0, 1])
def test_a_row_that_is_not_finite_gives_no_token(value: float, temperature: float) -> None:
    table = SamplingTable(2, 30)
    for seat in range(2):
        how = SamplingParams(temperature=temperature, presence_penalty=1)
        table.join(seat, how, seed=seat, prompt=[0], output=[])
    logits = torch.zeros(2, 30)
    logits[0] = value
    sample(logits, table, rows_of([0, 1], [1, 1]))
    assert table.sampled[0] == -1
    assert table.sampled[1] >= 0
    assert table.counts is not None
    assert table.counts[0, 1:].sum() == 0


def test_rows_of_a_decode_step_move_on() -> None:
    """Into the next place, the next block, past the last one, out because of a failure."""
    table = SamplingTable(5, 10)
    tables = torch.tensor([[3, 7], [3, 7], [5, -1], [6, 8], [0, 0]], dtype=torch.int32)
    decode = DecodeRows(
        torch.tensor([1, 3, 3, 7, 0]), torch.tensor([13, 15, 23, 35, -1]), tables, 4
    )
    rows = rows_of([0, 1, 2, 3, 4], [2, 4, 4, 8, 0], decode)
    table.sampled[4] = 6
    sample(torch.eye(10)[:5], table, rows)
    assert table.sampled.tolist() == [0, 1, 2, 3, 6]
    assert rows.context_lens.tolist() == [3, 5, 0, 0, 0]
    assert decode.positions.tolist()[:2] == [2, 4]
    assert decode.slots.tolist() == [14, 28, -1, -1, -1]
    logits = torch.eye(10)[5:]
    logits[0, 0] = NAN
    sample(logits, table, rows)
    assert table.sampled.tolist() == [-1, 6, 2, 3, 6]
    assert rows.context_lens.tolist() == [0, 6, 0, 0, 0]
    assert decode.slots.tolist() == [-1, 29, -1, -1, -1]


def test_what_does_not_fit_is_named() -> None:
    table = SamplingTable(2, 10)
    with pytest.raises(ValueError, match="seat 2, allowed are 0 to 1"):
        table.join(2, GREEDY, seed=0, prompt=[0], output=[])
    with pytest.raises(ValueError, match="bias of token 10, allowed are 0 to 9"):
        table.join(0, replace(GREEDY, logit_bias={10: 1.0}), seed=0, prompt=[0], output=[])
    with pytest.raises(ValueError, match=r"vocab = 262145, allowed are 1 to 262144"):
        SamplingTable(1, 2**18 + 1)
    with pytest.raises(ValueError, match=r"\(1, 9\) do not fit a table of 2 seats and 10 tokens"):
        sample(torch.zeros(1, 9), table, rows_of([0], [1]))
    with pytest.raises(ValueError, match="seats has R = 2"):
        sample(torch.zeros(1, 10), table, rows_of([0, 1], [1, 1]))
