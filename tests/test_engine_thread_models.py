"""Models that are not there or not whole, an engine that dies: errors with a type, never a hang."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from inference.engine import Engine
from inference.engine_thread import EngineThread
from inference.errors import (
    EngineError,
    EngineStopped,
    ModelInvalid,
    ModelNotFound,
    ModelUnavailable,
    UnsupportedArchitecture,
)
from inference.model_store import ModelStore
from inference.options import EngineOptions
from inference.types import EngineEvent
from tests.threaded_engine import Gate, gate, read, request, rest, store, thread, tokens, until
from tests.tiny_llama import write_tensors, write_tiny_llama

__all__ = ["gate", "store", "thread"]

pytestmark = pytest.mark.real_engine


async def refusal(thread: EngineThread, model: str) -> EngineError:
    """What both doors say about a model; the engine goes on afterwards."""
    with pytest.raises(EngineError) as refused:
        await read(thread, request("a", model=model))
    assert len(tokens(await read(thread, request("b")))) == 30
    return refused.value


# Models


@pytest.mark.parametrize("name", ["nobody", "", "..", "../tiny", "/etc", ".partial"])
async def test_an_unknown_model_is_named_beside_the_known_ones(
    thread: EngineThread, name: str
) -> None:
    error = await refusal(thread, name)
    assert isinstance(error, ModelNotFound)
    assert error.fields == {"model": name, "known": ["tiny", "half", "tale"]}
    with pytest.raises(ModelNotFound):
        await thread.codec(name)


async def test_a_model_that_was_not_fetched_is_unavailable(thread: EngineThread) -> None:
    error = await refusal(thread, "half")
    assert type(error) is ModelUnavailable
    assert error.fields == {"model": "half"}
    assert "models pull half" in error.message


async def test_a_model_that_is_half_downloaded_is_unavailable(
    thread: EngineThread, store: ModelStore
) -> None:
    parts = store.models_dir / ".partial" / "half" / "parts"
    parts.mkdir(parents=True)
    (parts / "model.safetensors").write_bytes(b"1234")
    error = await refusal(thread, "half")
    assert type(error) is ModelUnavailable
    assert "interrupted" in error.message


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: (d / "tokenizer.json").unlink(),
        lambda d: (d / "config.json").write_text("{"),
        lambda d: (d / "model.safetensors").unlink(),
        lambda d: (d / "model.safetensors").write_bytes(
            (d / "model.safetensors").read_bytes()[:-1]
        ),
    ],
)
async def test_a_damaged_model_is_unavailable(
    thread: EngineThread, store: ModelStore, damage: Any
) -> None:
    damage(write_tiny_llama(store.models_dir / "half"))
    assert isinstance(await refusal(thread, "half"), ModelUnavailable)


async def test_weights_that_do_not_fit_are_told_to_whoever_asks(
    thread: EngineThread, store: ModelStore
) -> None:
    directory = write_tiny_llama(store.models_dir / "half")
    tensors = load_file(directory / "model.safetensors")
    write_tensors(directory, {n: t.clone() for n, t in tensors.items() if n != "model.norm.weight"})
    for _ in range(2):
        error = await refusal(thread, "half")
        assert isinstance(error, ModelInvalid)
        assert error.fields == {"tensor": "model.norm.weight"}


async def test_another_architecture_is_told_to_whoever_asks(
    thread: EngineThread, store: ModelStore
) -> None:
    directory = write_tiny_llama(store.models_dir / "half")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"architectures": ["Mamba"]}))
    error = await refusal(thread, "half")
    assert isinstance(error, UnsupportedArchitecture)
    assert error.fields["supported"] == ["LlamaForCausalLM"]


async def test_a_model_that_is_mended_is_served(thread: EngineThread, store: ModelStore) -> None:
    await refusal(thread, "half")
    write_tiny_llama(store.models_dir / "half", seed=1)
    assert len(tokens(await read(thread, request("a", model="half")))) == 30


async def test_two_models_answer_side_by_side(thread: EngineThread, store: ModelStore) -> None:
    write_tiny_llama(store.models_dir / "half", seed=1)
    alone = [tokens(await read(thread, request("a", model=name))) for name in ("tiny", "half")]
    assert alone[0] != alone[1]
    asked = [request(f"{name}-{i}", model=name) for i in range(3) for name in ("tiny", "half")]
    both = await asyncio.gather(*(read(thread, each) for each in asked))
    assert [tokens(events) for events in both] == alone * 3


async def test_models_that_share_files_share_an_engine(thread: EngineThread) -> None:
    one, other = [await read(thread, request("a", model=name)) for name in ("tiny", "tale")]
    assert tokens(one) == tokens(other)
    assert len(thread.engines()) == 1


async def test_a_broken_default_model_does_not_keep_the_engine_from_starting(
    tmp_path: Path, store: ModelStore
) -> None:
    directory = store.directory("tiny")
    write_tensors(
        directory, load_file(write_tiny_llama(tmp_path / "x", layers=1) / "model.safetensors")
    )
    its = EngineThread(store, EngineOptions(device="cpu", threads=1))
    await its.start()
    with pytest.raises(ModelInvalid, match=r"the tensor model\.layers\.1"):
        await read(its, request("a"))
    await its.stop()


# Death


async def test_an_engine_that_dies_tells_everyone(
    thread: EngineThread, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads, who waits in the queue, whose request nobody has read, and who comes later."""
    gate.close()
    reading = asyncio.create_task(read(thread, request("reading")))
    await until(lambda: len(gate.steps) == 1)
    step = Engine.step

    def last_step(engine: Engine) -> Any:
        step(engine)
        raise AssertionError("the engine's own mistake")

    monkeypatch.setattr(Engine, "step", last_step)
    unread = [asyncio.create_task(read(thread, request(name))) for name in "abcdef"]
    await asyncio.sleep(0)
    gate.allow()
    for ended in await asyncio.gather(reading, *unread, return_exceptions=True):
        assert isinstance(ended, EngineStopped)
    with pytest.raises(EngineStopped):
        await read(thread, request("later"))


async def test_a_request_that_meets_the_end_of_the_engine_is_told(thread: EngineThread) -> None:
    """Between the look whether the thread lives and the word to it."""
    worker = thread._worker
    assert worker is not None
    await thread.stop()
    worker.is_alive = lambda: True  # type: ignore[method-assign]
    thread._worker = worker
    with pytest.raises(EngineStopped):
        await read(thread, request("a"))
    thread._worker = None


async def test_an_engine_that_was_never_started_says_so(store: ModelStore) -> None:
    its = EngineThread(store, EngineOptions(device="cpu", threads=1))
    with pytest.raises(EngineStopped):
        await read(its, request("a"))
    await its.stop()
    assert [info.name for info in its.models()] == ["tiny", "half", "tale"]
    assert [its.defaults(info.name) for info in its.models()] == [
        info.defaults for info in its.models()
    ]


async def test_what_was_said_before_the_end_is_not_lost(thread: EngineThread, gate: Gate) -> None:
    expected = tokens(await read(thread, request("alone")))
    gate.close()
    stream = thread.stream(request("a"))
    gate.allow(4)
    events: list[EngineEvent] = [await anext(stream)]
    await until(lambda: gate.steps_of("a") == 5)
    stopping = asyncio.create_task(thread.stop())
    await asyncio.sleep(0)
    gate.allow()
    await stopping
    with pytest.raises(EngineStopped):
        await rest(stream, events)
    assert tokens(events) == expected[:5]
