"""Sampling on the GPU against the same written out in float64: the very same tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from kernels.cuda import sample as cuda
from kernels.sample import DecodeRows, SampledRows, SamplingTable, reference

pytestmark = pytest.mark.gpu

DEVICE = "cuda"
INFINITE, NAN = float("inf"), float("nan")


@dataclass(frozen=True)
class How:
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)


GREEDY = How(temperature=0)
# every cut alone, in pairs, at its limits, and out of all proportion
HOWS = [
    GREEDY,
    How(),
    How(temperature=0.7),
    How(temperature=1e-300),
    How(temperature=2, min_p=0.001),
    How(min_p=1),
    How(top_k=1),
    How(top_k=50),
    How(top_k=3000),
    How(top_k=10**12),
    How(top_p=1e-9),
    How(top_p=0.5),
    How(top_p=0.95),
    How(top_p=0.999999),
    How(top_k=40, top_p=0.9),
    How(top_k=2000, top_p=0.99, temperature=1.3),
    How(top_p=0.9, min_p=0.05),
    How(top_k=20, min_p=0.1, temperature=0.8),
]


class Twins:
    """A table on the device and one on the CPU, that must stay alike."""

    def __init__(self, seats: int, vocab: int) -> None:
        self.ours, self.exact = (SamplingTable(seats, vocab, d) for d in (DEVICE, "cpu"))

    def join(self, seat: int, how: How, seed: int = 0, prompt: tuple[int, ...] = (0,)) -> None:
        for table in (self.ours, self.exact):
            table.join(seat, how, seed=seed, prompt=prompt, output=())

    def sample(self, logits: torch.Tensor, rows: SampledRows) -> list[int]:
        """The tokens of both, which must be the same ones."""
        moved = on_device(rows)
        cuda.sample(logits.clone().to(DEVICE), self.ours, moved)
        reference(logits.clone(), self.exact, rows)
        same(self.ours.sampled, self.exact.sampled)
        same(moved.context_lens, rows.context_lens)
        if self.ours.counts is not None and self.exact.counts is not None:
            same(self.ours.counts, self.exact.counts)
        if rows.decode and moved.decode:
            same(moved.decode.positions, rows.decode.positions)
            same(moved.decode.slots, rows.decode.slots)
        return [int(self.exact.sampled[seat]) for seat in rows.seats.tolist()]


def same(ours: torch.Tensor, exact: torch.Tensor) -> None:
    different = (ours.cpu() != exact).nonzero()
    first = tuple(different[0].tolist()) if len(different) else ()
    assert not len(different), (
        f"{len(different)} differ, the first at {first}: {ours[first]}, expected {exact[first]}"
    )


def on_device(rows: SampledRows) -> SampledRows:
    def moved(x: torch.Tensor) -> torch.Tensor:
        return x.clone().to(DEVICE)

    d = rows.decode
    decode = d and DecodeRows(
        moved(d.positions), moved(d.slots), moved(d.block_tables), d.block_size
    )
    return SampledRows(moved(rows.seats), moved(rows.context_lens), decode)


def rows_of(seats: list[int], lengths: list[int], decode: DecodeRows | None = None) -> SampledRows:
    numbers = torch.tensor([seats, lengths], dtype=torch.int32)
    return SampledRows(numbers[0].clone(), numbers[1].clone(), decode)


def peaked(rows: int, vocab: int, seed: int, spread: float = 3.0) -> torch.Tensor:
    """Logits as models give them: some tokens far above the others."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, vocab, generator=generator) * spread
    return x + 2 * torch.randn(rows, vocab, generator=generator).clamp(min=0) ** 2


KINDS = {
    "peaked": lambda rows, vocab, seed: peaked(rows, vocab, seed),
    "flat": lambda rows, vocab, seed: peaked(rows, vocab, seed, 0.05) * 0.1,
    "ties": lambda rows, vocab, seed: (peaked(rows, vocab, seed) * 2).round() / 2,
    "equal": lambda rows, vocab, seed: torch.full((rows, vocab), -2.5),
    "zeros of both signs": lambda rows, vocab, seed: peaked(rows, vocab, seed).clamp(max=0) * 0,
    "masked": lambda rows, vocab, seed: peaked(rows, vocab, seed).masked_fill(
        torch.rand(rows, vocab, generator=torch.Generator().manual_seed(seed)) < 0.99, -INFINITE
    ),
    "far apart": lambda rows, vocab, seed: peaked(rows, vocab, seed) * 1e37,
}


@pytest.mark.parametrize("vocab", [1, 37, 1000, 4097, 49152, 262144])
@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_sample(kind: str, vocab: int) -> None:
    """All ways side by side, in seats of another order than the rows, some draws of each."""
    twins, count = Twins(len(HOWS), vocab), len(HOWS)
    logits = KINDS[kind](count, vocab, vocab)
    if kind == "masked":
        logits[:, vocab // 2] = 0
    for seat, how in enumerate(HOWS):
        twins.join(seat, how, seed=seat * 2**33 + vocab)
    seats = np.random.default_rng(0).permutation(count).tolist()
    for draw in range(3):
        lengths = [1 + draw * 1000 + row for row in range(count)]
        twins.sample(logits, rows_of(seats, lengths))


@pytest.mark.parametrize("vocab", [50, 1003, 32000])
def test_random_requests(vocab: int) -> None:
    """Anything at once: cuts, penalties, biases, over steps in which they count what was drawn."""
    random = np.random.default_rng(vocab)
    seats = 24
    twins = Twins(seats, vocab)
    for seat in range(seats):
        bias = {int(t): float(random.normal(0, 5)) for t in random.integers(0, vocab, seat % 7)}
        how = How(
            temperature=random.choice([0, 0.3, 1, 1.7]),
            top_k=int(random.choice([0, 1, 5, 100, vocab])),
            top_p=random.choice([1, 0.3, 0.9, 0.99]),
            min_p=random.choice([0, 0, 0.02, 0.4]),
            repetition_penalty=random.choice([1, 1.1, 0.7]),
            presence_penalty=random.choice([0, 0.5, -1]),
            frequency_penalty=random.choice([0, 0.2, -0.1]),
            logit_bias=bias,
        )
        prompt = tuple(random.integers(0, vocab, 30).tolist())
        twins.join(seat, how, seed=int(random.integers(2**63)), prompt=prompt)
    for step in range(6):
        twins.sample(peaked(seats, vocab, step), rows_of(list(range(seats)), [30 + step] * seats))


def test_a_row_does_not_depend_on_its_batch() -> None:
    """One row is spread over many blocks, one of many rows is read by few."""
    vocab, seats = 50000, 40
    logits = peaked(seats, vocab, 1)
    twins = Twins(seats, vocab)
    for seat in range(seats):
        twins.join(seat, HOWS[seat % len(HOWS)], seed=seat)
    together = twins.sample(logits, rows_of(list(range(seats)), [9] * seats))
    for seat in range(0, seats, 3):
        assert twins.sample(logits[seat : seat + 1], rows_of([seat], [9])) == [together[seat]]


@pytest.mark.parametrize("how", [GREEDY, How(), How(top_p=0.9)], ids=str)
@pytest.mark.parametrize("value", [NAN, -NAN, INFINITE, -INFINITE])
def test_a_row_that_is_not_finite_fails_alone(how: How, value: float) -> None:
    vocab = 3000
    twins = Twins(3, vocab)
    for seat in range(3):
        twins.join(seat, how)
    logits = peaked(3, vocab, 5)
    logits[1, :] = value if value == -INFINITE else logits[1]
    logits[1, 2345] = value
    tokens = twins.sample(logits, rows_of([0, 1, 2], [4, 4, 4]))
    assert tokens[1] == -1
    assert min(tokens[0], tokens[2]) >= 0


def test_minus_infinity_beside_numbers_is_a_token_that_cannot_come() -> None:
    twins = Twins(2, 700)
    twins.join(0, How(top_k=5))
    twins.join(1, How())
    logits = torch.full((2, 700), -INFINITE)
    logits[:, 600] = -50
    assert twins.sample(logits, rows_of([0, 1], [4, 4])) == [600, 600]


def test_decode_rows_move_on_until_their_blocks_end() -> None:
    """Row 2 is padding, row 3 has two blocks of three, row 4 fails in the third step."""
    vocab, width = 300, 3
    twins = Twins(8, vocab)
    for seat in range(8):
        twins.join(seat, How(frequency_penalty=0.3) if seat % 2 else GREEDY, seed=seat)
    tables = torch.arange(5 * width, dtype=torch.int32).view(5, width).flip(1).contiguous()
    tables[3, 2] = -1
    decode = DecodeRows(
        torch.tensor([0, 6, 77, 5, 4]), torch.tensor([44, 43, -1, 42, 41]), tables, block_size=4
    )
    rows = rows_of([6, 1, 0, 3, 5], [1, 7, 0, 6, 5], decode)
    for step in range(7):
        logits = peaked(5, vocab, step)
        if step == 2:
            logits[4, 7] = NAN
        twins.sample(logits, rows)
    assert rows.context_lens.tolist() == [8, 0, 0, 0, 0]
    assert decode.slots.tolist() == [4 * tables[0, 1].item() + 3, -1, -1, -1, -1]
    assert twins.exact.sampled[5] == -1


def test_the_workspace_is_left_as_it_was_found() -> None:
    vocab, seats = 20000, len(HOWS)
    twins = Twins(seats, vocab)
    for seat, how in enumerate(HOWS):
        twins.join(seat, how)
    twins.sample(peaked(seats, vocab, 3), rows_of(list(range(seats)), [5] * seats))
    work = cuda._workspace(twins.ours.sampled.device, seats, vocab)
    for zero in (work.done, work.race, work.left, work.bucket_counts, work.bucket_weights):
        assert not zero.any()


def test_seats_that_empty_are_greedy_and_forget_their_bias() -> None:
    twins = Twins(2, 100)
    twins.join(0, How(logit_bias={5: 90.0, 6: 91.0}, top_p=0.5))
    assert twins.sample(torch.zeros(1, 100), rows_of([0], [1])) == [6]
    for table in (twins.ours, twins.exact):
        table.leave(0)
        assert not table.layout.draws
    assert twins.sample(torch.zeros(1, 100), rows_of([0], [1])) == [0]


def test_a_captured_step_is_replayed_with_what_the_seats_then_ask_for() -> None:
    vocab, seats, steps = 5000, 6, 12
    twins = Twins(seats, vocab)
    for seat in range(seats):
        twins.join(seat, How(repetition_penalty=1.2, top_p=0.9), seed=seat, prompt=(1, 2, 3))
    tables = torch.arange(seats * 8, dtype=torch.int32).view(seats, 8)
    decode = DecodeRows(torch.full((seats,), 2), torch.zeros(seats).long(), tables, 16)
    exact = rows_of(list(range(seats)), [3] * seats, decode)
    ours, logits = on_device(exact), torch.zeros(seats, vocab, device=DEVICE)
    cuda.sample(logits, twins.ours, on_device(exact))  # compiles
    for seat in range(seats):
        twins.join(seat, HOWS[1 + seat], seed=seat, prompt=(1, 2, 3))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        cuda.sample(logits, twins.ours, ours)
    for step in range(steps):
        drawn = peaked(seats, vocab, step)
        logits.copy_(drawn)
        graph.replay()
        reference(drawn, twins.exact, exact)
        same(twins.ours.sampled, twins.exact.sampled)
        same(ours.context_lens, exact.context_lens)
        if step == 5:
            twins.join(2, How(top_k=3, presence_penalty=1), seed=99, prompt=(4,))
