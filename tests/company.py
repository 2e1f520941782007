"""Requests alone and in random company, on any engine in deterministic mode: the same tokens.

The engine comes from whoever tests it, on the CPU or on a GPU.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inference.engine import Engine
from inference.errors import EngineError
from inference.types import Began, Delta, Finished, GenerateRequest, SamplingParams

MakeEngine = Callable[..., Engine]
"""Called with fields of `EngineOptions`, to be deterministic in any case."""

SEATS = 64
ALONE: dict[str, Any] = {"max_batch": 1, "kv_tokens": 512, "step_tokens": 200, "reuse": False}
# Everyone at once; pieces of prompts as small as can be; a cache for a few, who put each other
# aside. Each finds in its cache what others have read.
COMPANIES: tuple[dict[str, Any], ...] = (
    {"max_batch": SEATS, "kv_tokens": SEATS * 128, "step_tokens": 512},
    {"max_batch": 16, "kv_tokens": 2048, "step_tokens": 17},
    {"max_batch": SEATS, "kv_tokens": 160, "step_tokens": 100},
)


class NoText:
    """In place of a codec: the tokens are enough."""

    eos_ids: frozenset[int] = frozenset()
    token_bytes = None

    def decode(self, _ids: Any) -> str:
        return ""


@dataclass
class Seen:
    """What happened on the way: tokens of the answers by request, and what of it was company."""

    tokens: dict[str, list[int]]
    together: int = 0
    cached: int = 0
    put_aside: int = 0


def draw_requests(draw: random.Random, count: int) -> list[GenerateRequest]:
    """Of four texts, cut anywhere; greedy, drawn and punished; some go on with an answer."""
    texts = [[draw.randrange(3, 500) for _ in range(90)] for _ in range(4)]
    requests = []
    for number in range(count):
        prompt = draw.choice(texts)[: draw.randint(1, 90)]
        sampling = SamplingParams(
            temperature=draw.choice((0.0, 0.8, 1.2)),
            top_p=draw.choice((1.0, 0.9)),
            presence_penalty=draw.choice((0.0, 0.0, 0.7)),
            repetition_penalty=draw.choice((1.0, 1.0, 1.3)),
            seed=draw.randrange(2**40),
            max_tokens=draw.choice((3, 8, 8, 16, 36)),
            ignore_eos=True,
        )
        begin = draw.choice((None, None, draw.randint(1, len(prompt))))
        requests.append(
            GenerateRequest(f"{number}", "m", tuple(prompt), sampling, answer_start=begin)
        )
    return requests


def play(engine: Engine, requests: Sequence[GenerateRequest], apart: Sequence[int]) -> Seen:
    """apart: how many steps pass after each has come."""
    seen = Seen({request.request_id: [] for request in requests})

    def step() -> None:
        for name, event in engine.step():
            assert not isinstance(event, EngineError), event
            if isinstance(event, Delta):
                seen.tokens[name] += event.token_ids
            elif isinstance(event, Finished):
                seen.cached += event.cached_tokens
            elif isinstance(event, Began):
                assert event.deterministic
        seen.together = max(seen.together, len(engine._scheduler.running))
        seen.put_aside += len(engine._scheduler.put_aside)

    for request, steps in zip(requests, apart, strict=True):
        engine.add(request)
        for _ in range(steps):
            step()
    while not engine.is_idle:
        step()
    engine.cache.check_integrity()
    assert engine.cache.free_blocks == engine.cache.total_blocks
    return seen


def assert_alike_in_any_company(make: MakeEngine, seed: int, *, count: int = SEATS) -> None:
    """Each of `count` requests alone, then all of them in COMPANIES, in another order each time,
    and once more in a cache that has read them already."""
    draw = random.Random(seed)
    requests = draw_requests(draw, count)
    engine = make(**ALONE)
    alone = {r.request_id: play(engine, [r], [0]).tokens[r.request_id] for r in requests}
    assert all(len(alone[r.request_id]) == r.sampling.max_tokens for r in requests)
    met = Seen({})
    for company in COMPANIES:
        engine = make(**company)
        for round in range(2):
            order = draw.sample(requests, count)
            # first all together, then some in the middle of others' answers
            apart = [draw.choice((0, 0, 0, 1, 3)) if round else 0 for _ in order]
            named = [replace(r, request_id=f"{r.request_id}.{round}") for r in order]
            seen = play(engine, named, apart)
            for request in order:
                tokens = seen.tokens[f"{request.request_id}.{round}"]
                assert tokens == alone[request.request_id], f"{request.request_id} in {company}"
            met.together = max(met.together, seen.together)
            met.cached += seen.cached
            met.put_aside += seen.put_aside
    assert met.together == count, "not all were together"
    assert met.cached, "nothing was found in a cache"
    assert met.put_aside, "nobody was put aside"
