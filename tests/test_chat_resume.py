"""A reader that comes back, at any number, ends up with the same text, to the byte."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from chat.database import in_database
from chat.generation import turns
from chat.models import Event, Generation, Message, Session
from chat.rendering import render_blocks
from tests.chat_client import Page, Shown, pieces_of
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

PIECES = [
    "# Title\n",
    "\nSome *te",
    "xt* with 你",
    "好 and 🦙.\n\n",
    "- one\n",
    "- two\n",
    "```py\nx = 1",
]
ANSWER = "".join(PIECES)


async def stored() -> str:
    return (await in_database(lambda: Message.objects.get(role="assistant"))).content


async def shown_at(seq: int) -> Shown:
    """What a page shows that has read the log exactly up to event `seq`."""
    shown = Shown()
    shown.seq = seq
    for event in await in_database(
        lambda: list(Event.objects.filter(kind="message.delta").order_by("seq"))
    ):
        name, text = event.payload["message_id"], event.payload["text"]
        for number, piece in pieces_of(event.seq, event.payload):
            if number <= seq:
                shown.texts[name] = shown.texts.get(name, "") + piece
            text = text.removeprefix(piece)
        assert text == ""
    return shown


async def open_session(page: Page, session_id: str) -> dict[str, Any]:
    await page.send("session.open", session_id=session_id, after=page.shown.seq)
    return await page.receive()


async def test_every_number_of_a_finished_turn_resumes_to_the_same_bytes(site: FakeEngine) -> None:
    site.script = lambda request: PIECES
    async with Page() as page:
        await page.submit("Go")
        end = await page.until("message.end")
    name, last = end["message_id"], end["seq"]
    assert last == len(PIECES) + 2
    for seq in range(last + 1):
        async with Page(await shown_at(seq)) as again:
            opened = await open_session(again, end["session_id"])
            assert (opened["type"], opened["live"]) == ("session.opened", False)
            again.shown.seq = seq
            if seq < last:
                await again.until("message.end")
        assert again.shown.texts[name] == ANSWER == await stored()
        assert again.shown.blocks.get(name, render_blocks(ANSWER)) == render_blocks(ANSWER)
        assert again.shown.seqs == sorted(set(again.shown.seqs))


@pytest.mark.parametrize("every", [1, 2, 3])
async def test_a_socket_killed_after_every_kth_frame_misses_nothing(
    site: FakeEngine, every: int
) -> None:
    gates = [asyncio.Event() for _ in PIECES]
    steps = [step for pair in zip(PIECES, gates, strict=True) for step in pair]
    site.script = lambda request: steps
    async with Page() as page:
        await page.submit("Go")
        started = await page.until("turn.started")
    shown, session_id = page.shown, started["session_id"]
    turn = turns().get(uuid.UUID(session_id))
    assert turn is not None
    ended = False
    while not ended:
        async with Page(shown) as page:
            seq = shown.seq
            opened = await open_session(page, session_id)
            assert opened["type"] == "session.opened"
            shown.seq = seq
            for _ in range(every):
                gate = next((gate for gate in gates if not gate.is_set()), None)
                frame = await page.receive()
                ended = frame["type"] == "message.end"
                if gate is not None:
                    gate.set()
                if ended:
                    break
    name = started["message"]["id"]
    assert shown.texts[name] == ANSWER == await stored()
    assert shown.blocks[name] == render_blocks(ANSWER)
    assert shown.seqs == sorted(set(shown.seqs))


async def test_a_second_tab_sees_the_same_as_the_first(site: FakeEngine) -> None:
    gate = asyncio.Event()
    site.script = lambda request: [*PIECES[:4], gate, *PIECES[4:]]
    async with Page() as first, Page() as second:
        await first.submit("Go")
        started = await first.until("turn.started")
        await open_session(second, started["session_id"])
        second.shown.seq = 0
        assert (await second.receive())["type"] == "turn.started"
        gate.set()
        for page in (first, second):
            await page.until("message.end")
    assert first.shown.texts == second.shown.texts == {started["message"]["id"]: ANSWER}
    assert first.shown.blocks == second.shown.blocks


async def test_an_idle_tab_hears_of_a_turn_begun_elsewhere(site: FakeEngine) -> None:
    async with Page() as first, Page() as second:
        await first.submit("One")
        end = await first.until("message.end")
        second.shown.seq = end["seq"]
        await open_session(second, end["session_id"])
        await first.submit("Two", session_id=end["session_id"], parent_id=end["message_id"])
        started = await second.until("turn.started")
        await second.until("message.end")
        await first.until("message.end")
    assert started["user_message"]["text"] == "Two"
    assert second.shown.texts[started["message"]["id"]] == "You said: Two"


@pytest.mark.parametrize("after", [999, 2_000_003])
async def test_a_number_beyond_the_log_is_reset(site: FakeEngine, after: int) -> None:
    async with Page() as page:
        await page.submit("One")
        end = await page.until("message.end")
        await page.send("session.open", session_id=end["session_id"], after=after)
        reset = await page.receive()
    assert (reset["type"], reset["seq"]) == ("session.reset", end["seq"])


async def test_many_readers_of_one_turn_read_one_text(site: FakeEngine) -> None:
    gate = asyncio.Event()
    site.script = lambda request: [gate, *(f"word{number} " for number in range(300))]
    async with Page() as page:
        await page.submit("Go")
        started = await page.until("turn.started")
        readers = [await Page().__aenter__() for _ in range(8)]
        for reader in readers:
            await open_session(reader, started["session_id"])
            reader.shown.seq = 0
        gate.set()
        await asyncio.gather(*(reader.until("message.end") for reader in readers))
        for reader in readers:
            await reader.__aexit__(None, None, None)
        await page.until("message.end")
    expected = "".join(f"word{number} " for number in range(300))
    name = started["message"]["id"]
    assert {reader.shown.texts[name] for reader in readers} == {expected}
    assert await stored() == expected


async def test_numbers_begin_at_one_and_have_no_holes(site: FakeEngine) -> None:
    async with Page() as page:
        await page.submit("One")
        end = await page.until("message.end")
        await page.submit("Two", session_id=end["session_id"], parent_id=end["message_id"])
        await page.until("message.end")
    rows = await in_database(lambda: list(Event.objects.order_by("seq")))
    numbers = list[int]()
    for row in rows:
        is_delta = row.kind == "message.delta"
        numbers += dict(pieces_of(row.seq, row.payload)) if is_delta else [row.seq]
    assert numbers == list(range(1, len(numbers) + 1))
    assert (await in_database(Session.objects.get)).last_seq == len(numbers)


async def test_a_stopped_answer_has_its_seed_and_goes_on_with_it(site: FakeEngine) -> None:
    """The engine draws by seed and position: with another seed it would not go on as if it had not
    paused."""
    site.script = lambda request: ["Half ", asyncio.Event()]
    async with Page() as page:
        await page.submit("Hello")
        delta = await page.until("message.delta")
        await page.send("turn.stop", session_id=delta["session_id"])
        end = await page.until("message.end")
        site.script = lambda request: ["done"]
        ids = {name: end[name] for name in ("session_id", "message_id")}
        await page.send("turn.continue", **ids)
        await page.until("message.end")
    rows = await in_database(lambda: list(Generation.objects.order_by("created_at")))
    (seed,) = {request.sampling.seed for request in site.requests}
    assert seed is not None
    assert [(row.status, row.seed) for row in rows] == [("STOPPED", seed), ("DONE", seed)]
