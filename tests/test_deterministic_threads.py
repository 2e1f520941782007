"""How products are computed belongs to the thread that computes: an engine in a thread or a process
of its own is deterministic when it was asked to be, whatever the thread that started it has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

import kernels
from inference.client import EngineClient
from inference.engine_process import EngineProcess
from inference.engine_thread import EngineThread
from inference.model_store import ModelStore
from inference.types import Began, Delta, GenerateRequest, SamplingParams
from tests.process_engine import OPTIONS, tiny_store
from tests.threaded_engine import read

pytestmark = pytest.mark.real_engine

PROMPT = tuple(5 + (3 * i * i) % 250 for i in range(45))
SAMPLING = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
WHOLE, PIECES = 64, 7
"""Tokens of a step: the prompt is read at once, or in seven pieces."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    return tiny_store(tmp_path_factory.mktemp("models"))


@asynccontextmanager
async def started(client: EngineClient) -> AsyncIterator[EngineClient]:
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


async def numbers(
    models: ModelStore, kind: type[EngineThread | EngineProcess], step: int, *, asked: bool
) -> list[float]:
    """Of each token of an answer its log probability, to the last bit."""
    options = replace(OPTIONS, max_batch=1, step_tokens=step, deterministic=asked)
    async with started(kind(models, options)) as engine:
        events = await read(engine, GenerateRequest("r", "tiny", PROMPT, SAMPLING, logprobs=0))
    assert [event.deterministic for event in events if isinstance(event, Began)] == [asked]
    told = [each.logprob for event in events if isinstance(event, Delta) for each in event.logprobs]
    assert len(told) == SAMPLING.max_tokens
    return told


async def test_an_engine_is_as_deterministic_as_it_was_asked_to_be(models: ModelStore) -> None:
    here = kernels.products()
    assert not here.invariant
    expected = await numbers(models, EngineThread, WHOLE, asked=True)
    assert await numbers(models, EngineThread, PIECES, asked=True) == expected
    assert await numbers(models, EngineProcess, PIECES, asked=True) == expected
    assert kernels.products() == here
    # the comparison can fail, and this thread's choice is not the engine's
    kernels.use_products(kernels.Products(invariant=True))
    loose = [await numbers(models, EngineThread, step, asked=False) for step in (WHOLE, PIECES)]
    assert loose[0] != loose[1]
