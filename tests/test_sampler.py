"""The next token: every stage, their order, and a stream of draws that can be repeated."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from inference import sampler
from inference.sampler import Array
from inference.types import SamplingParams

quick = settings(max_examples=200, deadline=None)


def row(*logits: float) -> Array:
    """A row of logits that nobody may write to: the caller still needs it."""
    array = np.array(logits, dtype=np.float32)
    array.setflags(write=False)
    return array


def weights_row(*weights: float) -> Array:
    """Logits whose softmax at temperature 1 is in proportion to weights."""
    return row(*np.log(np.array(weights)))


def draw(
    logits: Array,
    params: SamplingParams,
    *,
    prompt: list[int] | None = None,
    output: list[int] | None = None,
    seed: int = 0,
) -> int:
    return sampler.sample(logits, params, prompt=prompt or [0], output=output or [], seed=seed)


def drawn(logits: Array, params: SamplingParams, draws: int = 300) -> set[int]:
    """The tokens that can come, as far as so many draws tell."""
    return {draw(logits, params, seed=seed) for seed in range(draws)}


def greedy(
    logits: Array, *, prompt: tuple[int, ...] = (), output: tuple[int, ...] = (), **params: object
) -> int:
    settings = SamplingParams(temperature=0, **params)  # type: ignore[arg-type]
    return draw(logits, settings, prompt=list(prompt), output=list(output))


# One number of the stream


@pytest.mark.parametrize(
    ("counter_and_key", "output"),
    [
        ("00000000 " * 6, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff " * 6, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            "243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0",
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_published_answers(counter_and_key: str, output: str) -> None:
    """The known answers of Random123 for Philox-4x32-10."""
    a, b, c, d, *key = (int(word, 16) for word in counter_and_key.split())
    words = sampler.philox((a, b, c, d), (key[0], key[1]))
    assert " ".join(f"{word:08x}" for word in words) == output


def test_a_number_is_made_of_the_whole_seed_and_position() -> None:
    assert sampler.uniform(0, 0) == (0x6627E8D5 + 0.5) / 2**32
    numbers = {
        sampler.uniform(seed, position)
        for seed in (0, 1, 2**32, 2**32 + 1, 2**63 - 1)
        for position in (0, 1, 2**32)
    }
    assert len(numbers) == 15
    assert all(0 < number < 1 for number in numbers)


# Frequencies. The stream is deterministic: these either hold for ever or not at all.

CHI_SQUARE_999 = {7: 24.32, 15: 37.70}  # exceeded once in 1,000 by numbers that are truly random


def chi_square(counts: Array, expected: Array) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("top_p", [1.0, 0.999999])
def test_tokens_come_as_often_as_softmax_says(temperature: float, top_p: float) -> None:
    logits = row(0.3, -1, 2, 0, 1.5, -0.2, 0.9, 1)
    params = SamplingParams(temperature=temperature, top_p=top_p)
    tokens = [draw(logits, params, prompt=[0] * n, seed=11) for n in range(1, 2001)]
    tokens += [draw(logits, params, seed=seed) for seed in range(2000)]
    exact = np.exp(logits.astype(np.float64) / temperature)
    expected = 4000 * exact / exact.sum()
    assert chi_square(np.bincount(tokens, minlength=8), expected) < CHI_SQUARE_999[7]


def test_neighbours_are_independent() -> None:
    params = SamplingParams()
    tokens = [draw(row(0, 0, 0, 0), params, prompt=[0] * n, seed=3) for n in range(1, 4002)]
    pairs = np.bincount(np.array(tokens[:-1]) * 4 + tokens[1:], minlength=16)
    assert chi_square(pairs, np.full(16, 250.0)) < CHI_SQUARE_999[15]


def test_a_seed_and_a_position_give_the_same_token() -> None:
    logits, params = row(*np.linspace(-1, 1, 100)), SamplingParams()
    whole = [draw(logits, params, prompt=[0] * n, seed=5) for n in range(1, 50)]
    continued = [draw(logits, params, output=[0] * n, seed=5) for n in range(49)]
    other = [draw(logits, params, prompt=[0] * n, seed=6) for n in range(1, 50)]
    assert whole == continued
    assert whole != other


# Which tokens may come, against the definition

weights = st.lists(st.integers(1, 40), min_size=1, max_size=12)
cuts = st.fixed_dictionaries(
    {
        "top_k": st.integers(0, 14),
        "top_p": st.integers(1, 16).map(lambda n: n / 16),
        "min_p": st.integers(0, 8).map(lambda n: n / 8),
    }
)


def allowed(weights: list[int], top_k: int, top_p: float, min_p: float) -> list[int]:
    """top-k, then top-p of what is left, then min-p, in whole numbers and without haste."""
    ids = sorted(range(len(weights)), key=lambda i: (-weights[i], i))
    if top_k:
        ids = ids[:top_k]
    total, reached, kept = sum(weights[i] for i in ids), 0, []
    for i in ids:
        if reached < Fraction(top_p) * total:
            kept.append(i)
        reached += weights[i]
    ids = [i for i in kept if weights[i] >= Fraction(min_p) * max(weights)]
    ordered = 0 < top_k < len(weights) or top_p < 1
    return ids if ordered else sorted(ids)


@quick
@given(weights=weights, cut=cuts)
def test_the_tokens_left_are_those_of_the_definition(
    weights: list[int], cut: dict[str, float]
) -> None:
    ids, left = sampler._candidates(
        np.array(weights, dtype=np.float64),
        SamplingParams(**cut),  # type: ignore[arg-type]
    )
    assert ids.tolist() == allowed(weights, **cut)  # type: ignore[arg-type]
    assert left.tolist() == [weights[i] for i in ids]


@pytest.mark.parametrize("top_p", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_nucleus_of_a_large_vocabulary(top_p: float, seed: int) -> None:
    """Found among the largest at 0.25, only by sorting everything at 0.75."""
    weights = np.random.default_rng(seed).integers(1, 200, 5000)
    ids, _ = sampler._candidates(weights.astype(np.float64), SamplingParams(top_p=top_p))
    assert ids.tolist() == allowed(weights.tolist(), 0, top_p, 0)
    assert (ids.size < 1024) == (top_p < 0.5)


@quick
@given(
    weights=weights,
    cut=cuts,
    temperature=st.sampled_from([0.25, 0.7, 1.0, 2.0]),
    seed=st.integers(0, 2**63 - 1),
    position=st.integers(1, 50),
)
def test_a_draw_is_that_of_the_definition(
    weights: list[int], cut: dict[str, float], temperature: float, seed: int, position: int
) -> None:
    """The whole of `sample` at temperature T on logits T · log(weight), which undoes T."""
    logits = row(*(temperature * np.log(np.array(weights, dtype=np.float64))))
    params = SamplingParams(temperature=temperature, **cut)  # type: ignore[arg-type]
    ids = allowed(weights, **cut)  # type: ignore[arg-type]
    point = sampler.uniform(seed, position) * sum(weights[i] for i in ids)
    reached, expected = 0, ids[-1]
    for i in ids:
        assume(abs(reached - point) > 1e-4)
        if reached < point:
            expected = i
        reached += weights[i]
    # no cut may lie where fp32 logits could fall to either side of it
    largest = sorted(weights, reverse=True)
    sums = [sum(largest[:n]) for n in range(1, len(weights) + 1)]
    total = sums[min(int(cut["top_k"]) or len(sums), len(sums)) - 1]
    assume(cut["top_p"] == 1 or all(abs(s - cut["top_p"] * total) > 1e-3 for s in sums))
    assume(all(abs(w - cut["min_p"] * largest[0]) > 1e-3 for w in largest[1:]))
    assert draw(logits, params, prompt=[0] * position, seed=seed) == expected


# The stages alone


def test_greedy_takes_the_largest_and_of_equals_the_first() -> None:
    assert greedy(row(1, 3, 2)) == 1
    assert greedy(row(1, 3, 3, 3)) == 1
    assert greedy(row(-5, -5)) == 0
    assert drawn(row(1, 3, 2.999), SamplingParams(temperature=0, top_p=0.5), draws=20) == {1}


def test_top_k_keeps_the_first_of_equals() -> None:
    assert drawn(row(0, 1, 1, 1), SamplingParams(top_k=2)) == {1, 2}
    assert drawn(row(1, 1, 0), SamplingParams(top_k=1)) == {0}
    assert drawn(row(1, 1), SamplingParams(top_k=100)) == {0, 1}


def test_top_p_keeps_the_fewest_that_reach_it() -> None:
    assert drawn(weights_row(5, 3, 1, 1), SamplingParams(top_p=0.45)) == {0}
    assert drawn(weights_row(5, 3, 1, 1), SamplingParams(top_p=0.55)) == {0, 1}
    assert drawn(weights_row(5, 3, 1, 1), SamplingParams(top_p=0.85)) == {0, 1, 2}
    assert drawn(weights_row(1, 1), SamplingParams(top_p=1e-9)) == {0}


def test_min_p_is_a_share_of_the_most_likely() -> None:
    assert drawn(weights_row(10, 6, 4), SamplingParams(min_p=0.5)) == {0, 1}
    assert drawn(weights_row(10, 6, 4), SamplingParams(min_p=1)) == {0}
    assert drawn(weights_row(10, 6, 4), SamplingParams(min_p=0.3)) == {0, 1, 2}


def test_logit_bias_adds() -> None:
    assert greedy(row(1, 2, 3), logit_bias={0: 2.5}) == 0
    assert greedy(row(1, 2, 3), logit_bias={2: -1.5}) == 1
    assert drawn(row(1, 2, 3), SamplingParams(logit_bias={1: -100})) == {0, 2}


def test_the_repetition_penalty_pulls_towards_zero_or_away_from_it() -> None:
    assert greedy(row(4, 2.5), prompt=(0,), repetition_penalty=2) == 1
    assert greedy(row(4, 1.5), prompt=(0,), repetition_penalty=2) == 0
    assert greedy(row(-1, -1.5), prompt=(0,), repetition_penalty=2) == 1
    assert greedy(row(-1, -2.5), output=(0,), repetition_penalty=2) == 0
    assert greedy(row(4, 2.5), prompt=(0, 0), output=(0,), repetition_penalty=1.5) == 0


def test_presence_counts_once_and_frequency_every_time_in_the_answer_only() -> None:
    assert greedy(row(3, 2), output=(0, 0, 0), presence_penalty=0.9) == 0
    assert greedy(row(3, 2), output=(0,), presence_penalty=1.1) == 1
    assert greedy(row(3, 2), output=(0,), frequency_penalty=0.4) == 0
    assert greedy(row(3, 2), output=(0, 0, 0), frequency_penalty=0.4) == 1
    assert greedy(row(3, 2), prompt=(0, 0, 0), presence_penalty=2, frequency_penalty=2) == 0
    assert greedy(row(2, 3), output=(0,), presence_penalty=-1.1) == 0


def test_a_temperature_next_to_zero_is_greedy_and_quiet() -> None:
    assert drawn(row(1, 3, 2, -1e30), SamplingParams(temperature=1e-300), draws=20) == {1}


def test_large_logits_do_not_overflow() -> None:
    assert drawn(row(3e38, 3e38, -3e38), SamplingParams()) == {0, 1}


# Their order: each pair of neighbours gives another token the other way round


def test_bias_comes_before_the_repetition_penalty() -> None:
    """(1 - 2) · 2 = -2 is below -1.75; 1 / 2 - 2 would be above."""
    assert greedy(row(1, -1.75), prompt=(0,), logit_bias={0: -2}, repetition_penalty=2) == 1


def test_the_repetition_penalty_comes_before_presence() -> None:
    """2 / 2 - 0.5 = 0.5 is below 0.6; (2 - 0.5) / 2 would be above."""
    assert greedy(row(2, 0.6), output=(0,), repetition_penalty=2, presence_penalty=0.5) == 1


def test_penalties_come_before_temperature() -> None:
    """1 - 2 at temperature 0.01 is nothing beside 0; 1 / 0.01 - 2 would be everything."""
    params = SamplingParams(temperature=0.01, presence_penalty=2)
    assert {draw(row(1, 0), params, output=[0], seed=seed) for seed in range(50)} == {1}


def test_temperature_comes_before_top_p_and_min_p() -> None:
    """Weights 9 and 1 are 3 and 1 at temperature 2."""
    logits = weights_row(9, 1)
    assert drawn(logits, SamplingParams(temperature=1, top_p=0.8)) == {0}
    assert drawn(logits, SamplingParams(temperature=2, top_p=0.8)) == {0, 1}
    assert drawn(logits, SamplingParams(temperature=1, min_p=0.2)) == {0}
    assert drawn(logits, SamplingParams(temperature=2, min_p=0.2)) == {0, 1}


def test_top_k_comes_before_top_p() -> None:
    """Of the two that are left the first has two thirds; of all four it has 0.4."""
    assert drawn(weights_row(4, 2, 2, 2), SamplingParams(top_k=2, top_p=0.55)) == {0}


def test_top_p_comes_before_min_p() -> None:
    """0.6 of all needs both; min-p first would leave two, of which 0.55 needs one."""
    logits = weights_row(8, 6, *[1] * 6)
    assert drawn(logits, SamplingParams(top_p=0.55, min_p=0.5)) == {0, 1}
