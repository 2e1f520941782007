"""The engine behind its client: streams side by side, readers that are slow or leave, the end."""

from __future__ import annotations

import asyncio

import pytest

from inference.engine import Engine
from inference.engine_thread import EngineThread
from inference.errors import ContextLengthExceeded, EngineStopped, InvalidParameter, RequestFailed
from inference.runner import ModelRunner
from inference.types import Delta, EngineEvent, Finished, GenerateRequest, SamplingParams
from tests.threaded_engine import (
    Gate,
    gate,
    read,
    request,
    rest,
    store,
    text,
    thread,
    tokens,
    until,
)
from tests.tiny_llama import EOS_ID

__all__ = ["gate", "store", "thread"]

pytestmark = pytest.mark.real_engine

# Streams


async def test_streams_run_side_by_side_and_end_with_finished(
    thread: EngineThread, gate: Gate
) -> None:
    alone = await read(thread, request("alone"))
    gate.close()
    streams = [asyncio.create_task(read(thread, request(name))) for name in "abcdef"]
    await until(lambda: len(gate.steps) == 31)  # the first is held in its first step
    gate.allow()
    for events in await asyncio.gather(*streams):
        assert isinstance(events[-1], Finished)
        assert tokens(events) == tokens(alone)
        assert text(events) == text(alone)
    assert max(map(len, gate.steps)) == 4


async def test_a_slow_reader_gets_joined_deltas_and_loses_nothing(thread: EngineThread) -> None:
    expected = await read(thread, request("quick"))
    stream = thread.stream(request("slow"))
    events = [await anext(stream)]
    await until(lambda: all(engine.is_idle for engine in thread.engines()))
    events += [event async for event in stream]
    assert len([event for event in events if isinstance(event, Delta)]) < 30
    assert tokens(events) == tokens(expected)
    assert text(events) == text(expected)
    deltas = [event for event in events if isinstance(event, Delta)]
    assert [o for d in deltas for o in d.offsets] == [
        o for d in expected if isinstance(d, Delta) for o in d.offsets
    ]


async def test_the_engine_does_not_wait_for_a_reader(thread: EngineThread) -> None:
    stalled = thread.stream(request("stalled"))
    await anext(stalled)
    assert len(tokens(await read(thread, request("other")))) == 30
    await stalled.aclose()


# Readers that leave


async def test_closing_a_stream_ends_its_computation_within_a_step(
    thread: EngineThread, gate: Gate
) -> None:
    gate.close()
    stream = thread.stream(request("a", max_tokens=200))
    gate.allow(5)
    read_so_far: list[EngineEvent] = []
    while len(tokens(read_so_far)) < 5:
        read_so_far.append(await anext(stream))
    await until(lambda: len(gate.steps) == 6)  # the sixth has begun when the reader leaves
    await stream.aclose()
    gate.allow()
    await until(lambda: thread.engines()[0].is_idle)
    assert gate.steps_of("a") == 6


async def test_closing_a_stream_in_its_prompt_ends_its_computation(
    thread: EngineThread, gate: Gate
) -> None:
    """A prompt of three pieces, of which the first is being computed."""
    gate.close()
    asked = GenerateRequest("a", "tiny", (9,) * 180, SamplingParams())
    reading = asyncio.create_task(read(thread, asked))
    await until(lambda: len(gate.steps) == 1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    gate.allow()
    await until(lambda: thread.engines()[0].is_idle)
    assert gate.steps_of("a") == 1


async def test_closing_one_stream_leaves_the_others(thread: EngineThread) -> None:
    expected = tokens(await read(thread, request("alone")))
    other = asyncio.create_task(read(thread, request("other")))
    stream = thread.stream(request("a", max_tokens=200))
    await anext(stream)
    await stream.aclose()
    assert tokens(await other) == expected


async def test_a_second_stream_of_the_same_name_does_not_end_the_first(
    thread: EngineThread, gate: Gate
) -> None:
    gate.close()
    first = asyncio.create_task(read(thread, request("a")))
    await until(lambda: len(gate.steps) == 1)
    second = asyncio.create_task(read(thread, request("a")))
    await asyncio.sleep(0)
    gate.allow()
    with pytest.raises(InvalidParameter, match="request_id = 'a'"):
        await second
    assert len(tokens(await first)) == 30


# Refusals and failures


async def test_refusals_are_raised_to_their_reader(thread: EngineThread) -> None:
    with pytest.raises(ContextLengthExceeded) as refused:
        await read(thread, GenerateRequest("a", "tiny", (9,) * 512))
    assert refused.value.fields == {"prompt_tokens": 512, "context_length": 512}
    with pytest.raises(InvalidParameter):
        await read(thread, GenerateRequest("a", "tiny", (9, 5000)))
    assert len(tokens(await read(thread, request("a")))) == 30


async def test_a_failed_request_keeps_what_it_said(
    thread: EngineThread, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.close()
    stream = thread.stream(request("a"))
    gate.allow(3)
    events: list[EngineEvent] = []
    while len(tokens(events)) < 3:
        events.append(await anext(stream))
    monkeypatch.setattr(ModelRunner, "run", lambda *_: 1 // 0)
    gate.allow()
    with pytest.raises(RequestFailed):
        await rest(stream, events)
    monkeypatch.undo()
    assert tokens(events) == tokens(await read(thread, request("b")))[: len(tokens(events))]


async def test_an_unexpected_error_on_arrival_is_a_failed_request(
    thread: EngineThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "add", lambda *_: 1 // 0)
        with pytest.raises(RequestFailed, match="by zero"):
            await read(thread, request("a"))
    assert len(tokens(await read(thread, request("a")))) == 30


async def test_the_codec_counts_as_the_engine_does(thread: EngineThread) -> None:
    codec = await thread.codec("tiny")
    assert codec is await thread.codec("tiny")
    assert (codec.context_length, codec.eos_ids) == (512, frozenset({EOS_ID}))
    rendered = codec.render([{"role": "user", "content": "hi"}], add_generation_prompt=True)
    prompt = tuple(codec.encode(rendered))
    events = await read(thread, GenerateRequest("a", "tiny", prompt, SamplingParams(max_tokens=9)))
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.prompt_tokens == len(prompt)


# The end


async def test_stop_ends_waiting_streams_and_computes_at_most_one_more_step(
    thread: EngineThread, gate: Gate
) -> None:
    gate.close()
    streams = [asyncio.create_task(read(thread, request(name))) for name in "abcdefg"]
    await until(lambda: len(gate.steps) == 1)
    stopping = asyncio.create_task(thread.stop())
    await asyncio.sleep(0)
    gate.allow()
    for ended in await asyncio.gather(*streams, return_exceptions=True):
        assert isinstance(ended, EngineStopped)
        assert ended.retryable
    await stopping
    assert len(gate.steps) == 1


async def test_after_the_end_requests_are_refused(thread: EngineThread) -> None:
    await thread.stop()
    with pytest.raises(EngineStopped):
        await read(thread, request("a"))
    await thread.stop()


async def test_an_engine_can_be_started_again(thread: EngineThread, gate: Gate) -> None:
    expected = tokens(await read(thread, request("a")))
    gate.close()
    stream = asyncio.create_task(read(thread, request("b")))
    await until(lambda: len(gate.steps) == 31)
    stopping = asyncio.create_task(thread.stop())
    await asyncio.sleep(0)
    gate.allow()
    await stopping
    with pytest.raises(EngineStopped):
        await stream
    await thread.start()
    gate.open = True
    assert tokens(await read(thread, request("b"))) == expected
