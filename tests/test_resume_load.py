"""A real server with a real model, several answers at a time, and everything that cuts them off:
what a reader puts together is what the database of the same run says, to the byte."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import pytest

import kernels
from chat.event_log import LONGEST_WAIT_S
from inference.engine import StepEvents
from inference.offline import OfflineModel, run_to_end
from inference.types import Delta, GenerateRequest, ModelKind, SamplingParams
from tests.served_engines import OPTIONS, STEP_S
from tests.server_process import ServerProcess
from tests.server_reader import HANG, Reader, assert_true, logged_ids, row_of

pytestmark = pytest.mark.real_engine

GREEDY: dict[str, Any] = {"temperature": 0, "ignore_eos": True}
SAMPLED: dict[str, Any] = {"temperature": 1.1, "top_p": 0.95, "seed": 11, "ignore_eos": True}
SAMPLED |= {"presence_penalty": 0.6, "frequency_penalty": 0.3}
MANY = [GREEDY if number % 2 else SAMPLED | {"seed": number} for number in range(8)]
"""More than run at once: the last ones wait."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One for all. Whoever ends it starts it again."""
    folder = tmp_path_factory.mktemp("served")
    made = ServerProcess(
        folder,
        TINYLLM_ENGINE_FACTORY="tests.served_engines.build",
        TINYLLM_MODELS_DIR=str(folder / "models"),
    )
    yield made.migrate().start()
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGKILL)


def uninterrupted(
    server: ServerProcess, prompts: list[list[int]], lengths: list[int]
) -> list[tuple[str, list[int]]]:
    """Texts and first tokens of the same answers by the same model in this process, not cut off."""
    model = OfflineModel(server.directory / "models" / "tiny", ModelKind.CHAT, OPTIONS)
    texts = ["" for _ in prompts]
    tokens: list[list[int]] = [[] for _ in prompts]

    def collect(events: StepEvents) -> None:
        for name, event in events:
            if isinstance(event, Delta):
                texts[int(name)] += event.text
                tokens[int(name)] += event.token_ids

    requests = [
        GenerateRequest(
            f"{i}", "tiny", tuple(prompt), SamplingParams(**sampling, max_tokens=length)
        )
        for i, (prompt, sampling, length) in enumerate(zip(prompts, MANY, lengths, strict=True))
    ]
    run_to_end(model.engine, requests, collect)
    return list(zip(texts, tokens, strict=True))


@pytest.fixture(autouse=True)
def products_afterwards() -> Iterator[None]:
    yield
    kernels.use_products(kernels.Products())


async def start_many(server: ServerProcess, **more: Any) -> list[Reader]:
    readers = [Reader(server) for _ in MANY]
    for number, (reader, sampling) in enumerate(zip(readers, MANY, strict=True)):
        await reader.submit(f"Tell me about {number}", **sampling, **more)
    return readers


async def test_connections_cut_after_every_kth_token_miss_nothing(server: ServerProcess) -> None:
    """k is another one for each of the answers, which run at the same time."""
    readers = await start_many(server, max_tokens=60)

    async def follow(reader: Reader, every: int) -> None:
        while reader.end is None:
            await reader.read(every)

    async with asyncio.timeout(HANG):
        await asyncio.gather(
            *(follow(reader, every) for every, reader in enumerate(readers, start=1))
        )
    for reader in readers:
        row = assert_true(reader)
        ((status, _, output),) = row["generations"]
        assert (status, len(output)) == ("DONE", 60)
        logged = logged_ids(row)
        assert output[: len(logged)] == logged  # what follows has no text
    assert len({reader.text for reader in readers}) == len(readers)


async def test_an_answer_is_taken_along_from_device_to_device(server: ServerProcess) -> None:
    """A phone, a desk and a program that reads server-sent events, one after another and at the
    same time."""
    readers = await start_many(server, max_tokens=60)

    async def wander(reader: Reader) -> None:
        ways = [reader.read, reader.read_events]
        while reader.end is None:
            await ways[0](7)
            ways.reverse()

    async def beside(reader: Reader) -> Reader:
        other = Reader(server)
        other.session_id, other.message_id = reader.session_id, reader.message_id
        await other.read_events()
        return other

    async with asyncio.timeout(HANG):
        _, others = await asyncio.gather(
            asyncio.gather(*map(wander, readers)), asyncio.gather(*map(beside, readers))
        )
    for reader, other in zip(readers, others, strict=True):
        assert_true(reader)
        assert_true(other)
        assert reader.shown.blocks == other.shown.blocks


async def test_a_restart_in_mid_answer_keeps_all_and_goes_on_with_the_same_tokens(
    server: ServerProcess,
) -> None:
    readers = await start_many(server)
    reading = [asyncio.create_task(reader.read()) for reader in readers]
    await asyncio.to_thread(server.end, signal.SIGTERM)
    assert server.process is not None
    assert server.process.returncode == 0
    await asyncio.gather(*reading)
    for reader in readers:
        assert reader.end is not None
        assert (reader.end["status"], reader.end["can_continue"]) == ("STOPPED", True)
        assert_true(reader)
    await go_on_as_if_nothing_had_been(server, readers)


async def test_a_kill_loses_a_moment_and_the_rest_goes_on_with_the_same_tokens(
    server: ServerProcess,
) -> None:
    readers = await start_many(server)
    reading = [asyncio.create_task(reader.read()) for reader in readers]
    # on a busy machine the log's thread gets its turn late: test_delta_rows.py has the promise
    unlogged = 10 * LONGEST_WAIT_S / STEP_S
    while sum(len(each.lengths) > unlogged for each in readers) < OPTIONS.max_batch:  # noqa: ASYNC110
        await asyncio.sleep(STEP_S)
    await asyncio.to_thread(server.end, signal.SIGKILL)
    await asyncio.gather(*reading, return_exceptions=True)
    for reader in readers:
        row = row_of(reader)
        logged_at = max(seq for seq, _, _ in row["log"])
        assert reader.shown.seq - logged_at <= unlogged
        # a token may have been logged and not have reached the reader, or the other way round
        assert reader.text.startswith(row["content"]) or row["content"].startswith(reader.text)
    await go_on_as_if_nothing_had_been(server, readers)


async def go_on_as_if_nothing_had_been(server: ServerProcess, readers: list[Reader]) -> None:
    """Start the server again, have every answer continued for a while, and compare."""
    await asyncio.to_thread(server.start)

    async def go_on(reader: Reader) -> None:
        if reader.end is None and (await reader.read())["type"] == "session.reset":
            reader.begin_again(row_of(reader)["content"])  # it was shown more than was kept
        await reader.go_on()
        await reader.read(20)
        await reader.stop()
        await reader.read()

    async with asyncio.timeout(HANG):
        await asyncio.gather(*map(go_on, readers))
    rows = [assert_true(reader) for reader in readers]
    prompts = [row["generations"][0][1] for row in rows]
    outputs = [[output for _, _, output in row["generations"]] for row in rows]
    lengths = [sum(map(len, its)) for its in outputs]
    expected = await asyncio.to_thread(uninterrupted, server, prompts, lengths)
    for reader, (first, second), (text, tokens) in zip(readers, outputs, expected, strict=True):
        assert second
        assert first + second == tokens
        assert reader.text == text
