"""Several models under one budget: who is loaded, who goes, who waits, and what is given back."""

from __future__ import annotations

import asyncio
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from inference.errors import MemoryBudgetTooSmall
from inference.model_store import ModelStore
from inference.types import EngineEvent, Loading, Queued
from tests.resident_engines import MODELS, Brake, brake, loaded, models, of, running
from tests.threaded_engine import Gate, gate, read, request, rest, store, tokens, until
from tests.tiny_llama import write_tiny_llama

__all__ = ["brake", "gate", "models", "store"]

pytestmark = pytest.mark.real_engine


# The budget


async def test_the_one_that_was_used_longest_ago_makes_room(models: ModelStore) -> None:
    async with running(models, room=2) as its:
        alone = {name: tokens(await read(its, request("a", model=name))) for name in MODELS}
        assert await loaded(its) == {"half", "third"}
        await read(its, request("a", model="half"))
        assert tokens(await read(its, request("a", model="tiny"))) == alone["tiny"]
        assert await loaded(its) == {"half", "tiny"}
        assert len(set(map(tuple, alone.values()))) == 3


async def test_a_busy_one_stays_though_it_was_used_longest_ago(
    models: ModelStore, brake: Brake
) -> None:
    async with running(models, room=2) as its:
        expected = tokens(await read(its, request("a")))
        stream = its.stream(request("busy", max_tokens=400))
        events = [await anext(stream)]
        await read(its, request("b", model="half", max_tokens=1))
        await read(its, request("c", model="third", max_tokens=1))
        assert await loaded(its) == {"tiny", "third"}
        assert len(tokens(events)) < 400
        brake.is_on = False
        await rest(stream, events)
        assert tokens(events)[:30] == expected
        assert len(tokens(events)) == 400


async def test_who_finds_no_room_waits_and_nobody_overtakes(models: ModelStore, gate: Gate) -> None:
    async with running(models, room=1) as its:
        expected = tokens(await read(its, request("a")))
        gate.close()
        busy = asyncio.create_task(read(its, request("busy")))
        await until(lambda: gate.steps_of("busy") == 1)
        half = its.stream(request("half", model="half"))
        later = its.stream(request("later"))
        for place, stream in enumerate((half, later), start=1):
            told = asyncio.ensure_future(anext(stream))
            await until(lambda: its._worker is not None and not its._worker._commands.empty())
            gate.allow(1)
            assert await told == Queued(place)
        assert [directory.name for directory in its._engines] == ["tiny"]
        gate.open = True
        gate.allow()
        events: list[EngineEvent] = []
        others: list[EngineEvent] = []
        await asyncio.gather(rest(half, events), rest(later, others))
        assert tokens(await busy) == tokens(others) == expected
        assert len(tokens(events)) == 30
        assert of(Loading, events)
        assert of(Loading, others)
        assert await loaded(its) == {"tiny"}


async def test_one_that_can_never_fit_is_refused_with_numbers(models: ModelStore) -> None:
    async with running(models, room=1) as its:
        expected = tokens(await read(its, request("a")))
        write_tiny_llama(models.models_dir / "large", layers=4)
        with pytest.raises(MemoryBudgetTooSmall) as refused:
            await read(its, request("b", model="large"))
        fields = refused.value.fields
        assert fields["needed"] > fields["budget"] == (await its.report()).budget
        assert fields["would_fit"].startswith("TINYLLM_DTYPE=bfloat16 or ")
        assert "TINYLLM_MEMORY_GB=" in refused.value.message
        assert await loaded(its) == {"tiny"}
        assert tokens(await read(its, request("a"))) == expected


async def test_at_the_start_nobody_makes_room_for_another(models: ModelStore) -> None:
    entries = models.catalogue.entries
    for name in entries:
        entries[name] = replace(entries[name], default=True)  # type: ignore[index]
    async with running(models, room=1) as its:
        assert await loaded(its) == {"tiny"}
        assert len(tokens(await read(its, request("a", model="half")))) == 30


# Idle


def mapped(directory: Path) -> bool:
    return str(directory / "model.safetensors") in Path("/proc/self/maps").read_text()


async def test_an_idle_one_gives_its_memory_back_and_comes_again(models: ModelStore) -> None:
    async with running(models) as its:
        expected = tokens(await read(its, request("a")))
        (engine,) = its.engines()
        caches = weakref.ref(engine._runner._caches[0].k)  # type: ignore[attr-defined]
        held = weakref.ref(engine)
        del engine
        assert mapped(models.directory("tiny"))
        assert caches() is not None
        its.keep_alive(0.5)
        await until(lambda: not its.engines())  # by itself: nobody tells it anything more
        await until(lambda: held() is None)
        assert caches() is None
        assert not mapped(models.directory("tiny"))
        assert (await its.report()).engines == ()
        again = await read(its, request("a"))
        assert tokens(again) == expected
        assert of(Loading, again)


async def test_a_busy_one_is_not_unloaded(models: ModelStore, gate: Gate) -> None:
    async with running(models, keep_alive_s=0.05) as its:
        gate.close()
        stream = its.stream(request("a"))
        first = asyncio.ensure_future(anext(stream))
        await until(lambda: gate.steps_of("a") == 1)
        await asyncio.sleep(0.15)
        gate.open = True
        gate.allow()
        events: list[EngineEvent] = [await first]
        await rest(stream, events)
        answer: list[EngineEvent] = [e for e in events if not isinstance(e, Loading)]
        assert events[-len(answer) :] == answer
        assert len(tokens(answer)) == 30
