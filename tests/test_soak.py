"""The long counts (`make soak`): the same properties as in the other tests, far more often.

Each test draws its cases from one seed and reports how many it tried.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from chat.rendering import StreamRenderer, render_blocks
from inference.catalogue import Catalogue
from inference.engine_thread import EngineThread
from inference.model_store import ModelStore
from inference.options import EngineOptions
from inference.types import Delta, GenerateRequest, SamplingParams
from tests.reference_model import Ours, assert_same, reference
from tests.scheduler_traffic import NO_CANCEL, Arrival, Machine, Traffic
from tests.tiny_llama import write_tiny_llama

pytestmark = pytest.mark.soak

SEED = 20261122
Record = Callable[[str, object], None]

ROPES: tuple[dict[str, Any] | None, ...] = (
    None,
    {"rope_type": "linear", "factor": 2.0},
    {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 256},
)


def _random_shape(draw: random.Random) -> dict[str, Any]:
    kv_heads, group = draw.choice((1, 2, 3)), draw.choice((1, 2, 3))
    heads = kv_heads * group
    return {
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": draw.choice((16, 32, 64, 128)),
        "hidden": heads * draw.choice((16, 24, 32)),
        "intermediate": draw.choice((48, 90, 128)),
        "layers": draw.choice((1, 2, 4)),
        "tied": draw.random() < 0.5,
        "attention_bias": draw.random() < 0.3,
        "mlp_bias": draw.random() < 0.3,
        "rope_scaling": draw.choice(ROPES),
        "sharded": draw.random() < 0.2,
    }


def test_random_models_have_transformers_tokens(tmp_path: Path, record_property: Record) -> None:
    draw, models, close = random.Random(SEED), 150, 0
    for number in range(models):
        shape = _random_shape(draw)
        directory = write_tiny_llama(tmp_path / str(number), seed=number, **shape)
        ours, model = Ours(directory), reference(directory)
        prompt = [draw.randrange(ours.vocabulary) for _ in range(draw.randint(1, 200))]
        close += assert_same(ours, model, prompt, 64)
    for name, value in (("seed", SEED), ("models", models), ("tokens", 64), ("close calls", close)):
        record_property(name, value)


def test_random_traffic_keeps_the_policys_promises(record_property: Record) -> None:
    draw, runs, requests = random.Random(SEED), 3000, 0
    for _ in range(runs):
        machine = Machine(draw.randint(1, 8), draw.randint(9, 64), draw.randint(8, 64))
        room = machine.blocks * 16 // 2
        arrivals = [
            Arrival(
                step=draw.randint(0, 50),
                prompt=draw.randint(1, room),
                output=draw.randint(1, min(40, room)),
                priority=draw.randint(0, 2),
                cancel=draw.choice((NO_CANCEL, draw.randint(0, 30))),
            )
            for _ in range(draw.randint(1, 25))
        ]
        requests += len(arrivals)
        Traffic(machine).run(arrivals)
    for name, value in (("seed", SEED), ("runs", runs), ("requests", requests)):
        record_property(name, value)


def test_requests_that_come_and_go_leave_an_empty_engine(
    tmp_path: Path, record_property: Record
) -> None:
    """Hundreds of readers start, read, and close at random; every one that stays gets the tokens
    that a request alone gets, and no block stays held."""
    draw, readers = random.Random(SEED), 400
    write_tiny_llama(tmp_path / "tiny", dtype="float32", context=256)

    async def scenario() -> int:
        options = EngineOptions(
            device="cpu", threads=1, kv_tokens=1024, max_batch=8, step_tokens=32
        )
        client = EngineThread(ModelStore(tmp_path, Catalogue({})), options)
        await client.start()
        prompts = [[draw.randrange(3, 250) for _ in range(draw.randint(1, 60))] for _ in range(12)]
        alone = [await _read(client, f"alone-{i}", p, None) for i, p in enumerate(prompts)]

        async def reader(number: int) -> bool:
            which = draw.randrange(len(prompts))
            stop_after = draw.choice((None, None, draw.randint(0, 20)))
            await asyncio.sleep(draw.random() * 4)
            tokens = await _read(client, str(number), prompts[which], stop_after)
            assert tokens == alone[which][: len(tokens)]
            assert stop_after is not None or tokens == alone[which]
            return stop_after is None

        stayed = sum(await asyncio.gather(*(reader(number) for number in range(readers))))
        await client.stop()
        for engine in client.engines():
            assert engine.is_idle
            assert engine.cache.free_blocks == engine.cache.total_blocks
            engine.cache.check_integrity()
        return stayed

    stayed = asyncio.run(scenario())
    assert 0 < stayed < readers
    for name, value in (("seed", SEED), ("readers", readers), ("stayed to the end", stayed)):
        record_property(name, value)


async def _read(
    client: EngineThread, request_id: str, prompt: list[int], stop_after: int | None
) -> list[int]:
    """The tokens of a greedy answer, or its first ones: the reader leaves after `stop_after`."""
    sampling = SamplingParams(temperature=0, max_tokens=40, ignore_eos=True)
    request = GenerateRequest(request_id, "tiny", tuple(prompt), sampling)
    tokens: list[int] = []
    async with aclosing(client.stream(request)) as events:
        async for event in events:
            if isinstance(event, Delta):
                tokens += event.token_ids
            if stop_after is not None and len(tokens) >= stop_after:
                break
    return tokens


def test_any_chunking_of_any_text_renders_as_the_whole(record_property: Record) -> None:
    draw, texts = random.Random(SEED), 20_000
    pieces = ["# ", "- ", "1. ", "> ", "```", "```py\n", "`", "**", "_", "[a](", ")", "|", "|--|\n"]
    pieces += ["\n", "\n\n", "    ", "正文", "重点：", "<b>", "&amp;", "😀", "word ", "---\n", "~~"]
    for _ in range(texts):
        text = "".join(draw.choice(pieces) for _ in range(draw.randint(0, 40)))
        renderer, blocks, start = StreamRenderer(), [""][:0], 0
        while start < len(text):
            end = start + draw.randint(1, 12)
            first, html = renderer.push(text[start:end])
            blocks[first:], start = html, end
        first, html = renderer.finish()
        blocks[first:] = html
        assert blocks == render_blocks(text), repr(text)
    for name, value in (("seed", SEED), ("texts", texts)):
        record_property(name, value)
