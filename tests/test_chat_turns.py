"""Turns, from a submitted frame to the ended row: what is told, what is kept, what is refused."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from chat.database import in_database
from chat.generation import turns
from chat.models import Event, Generation, Message, Session
from chat.packing import unpack
from inference.errors import QueueFull
from inference.types import Delta, GenerateRequest, Loading, PromptProgress, Queued
from tests.chat_client import Page
from tests.fake_engine import END, FakeEngine, Script

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


def says(*steps: object) -> Script:
    """A script with these steps whatever is asked."""
    return lambda request: list(steps)  # type: ignore[arg-type]


async def rows() -> list[Generation]:
    return await in_database(lambda: list(Generation.objects.order_by("created_at")))


async def contents() -> list[str]:
    return await in_database(
        lambda: list(Message.objects.order_by("created_at").values_list("content", flat=True))
    )


async def test_a_message_is_answered_and_recorded(site: FakeEngine) -> None:
    async with Page() as page:
        name = await page.submit("Hello there")
        started = await page.until("turn.started")
        end = await page.until("message.end")
    assert (started["client_id"], started["title"]) == (name, "Hello there")
    assert started["user_message"]["html"] == "<p>Hello there</p>"
    assert end["status"] == "DONE"
    assert end["finish_reason"] == "stop"
    assert page.shown.texts == {end["message_id"]: "You said: Hello there"}
    assert page.shown.blocks == {end["message_id"]: ["<p>You said: Hello there</p>"]}
    (row,) = await rows()
    answer, seed = "You said: Hello there", site.requests[0].sampling.seed
    assert unpack(row.output_ids) == [*answer.encode(), END]
    assert unpack(row.token_offsets) == [*range(len(answer)), len(answer)]
    assert tuple(unpack(row.prompt_ids)) == site.requests[0].prompt_ids
    assert (row.status, row.seed, row.output_tokens) == ("DONE", seed, len(answer) + 1)
    assert row.fingerprint["tokenizer"] == "t" * 64
    assert row.request_id == site.requests[0].request_id
    assert site.requests[0].tenant == str((await in_database(Session.objects.get)).owner_id)


async def test_the_record_says_whether_the_engine_was_deterministic(site: FakeEngine) -> None:
    """As the engine says with the first token, so of an answer that was stopped as well."""
    async with Page() as page:
        await page.submit("Hello")
        ends = [await page.until("message.end")]
        site.deterministic = True
        await page.submit("Hello")
        ends.append(await page.until("message.end"))
        site.script = says("Half ", asyncio.Event())
        await page.submit("Hello")
        delta = await page.until("message.delta")
        await page.send("turn.stop", session_id=delta["session_id"])
        ends.append(await page.until("message.end"))
    assert [end["deterministic"] for end in ends] == [False, True, True]
    assert [row.deterministic for row in await rows()] == [False, True, True]


async def test_the_next_prompt_begins_with_the_last_prompt_and_answer(site: FakeEngine) -> None:
    async with Page() as page:
        await page.submit("One")
        end = await page.until("message.end")
        session_id, parent = end["session_id"], end["message_id"]
        await page.submit("Two", session_id=session_id, parent_id=parent)
        await page.until("message.end")
    first, second = await rows()
    before = unpack(first.prompt_ids) + unpack(first.output_ids)
    assert unpack(second.prompt_ids)[: len(before)] == before
    assert await contents() == ["One", "You said: One", "Two", "You said: Two"]


async def test_an_edited_message_begins_another_branch(site: FakeEngine) -> None:
    async with Page() as page:
        await page.submit("One")
        end = await page.until("message.end")
        await page.submit("Uno", session_id=end["session_id"], parent_id=None)
        await page.until("message.end")
    first, second = await rows()
    assert b"One" not in bytes(token for token in unpack(second.prompt_ids) if token < 256)
    assert first.session_id == second.session_id


async def test_stop_cancels_the_engine_and_keeps_the_text(site: FakeEngine) -> None:
    site.script = says("Half ", "done", asyncio.Event())
    async with Page() as page:
        await page.submit("Go")
        delta = await page.until("message.delta")
        while page.shown.texts[delta["message_id"]] != "Half done":
            await page.until("message.delta")
        await page.send("turn.stop", session_id=delta["session_id"])
        end = await page.until("message.end")
    assert (end["status"], end["finish_reason"]) == ("STOPPED", "cancelled")
    assert end["can_continue"] is True
    assert site.cancelled == [site.requests[0].request_id]
    assert (await contents())[-1] == "Half done"
    assert (await rows())[0].status == "STOPPED"


async def test_what_was_held_back_when_stopped_is_not_part_of_the_answer(site: FakeEngine) -> None:
    half = Delta("", (0xE4, 0xBD), (2, 2))  # two bytes of a character, and a gate before the third
    site.script = says("Hi", half, asyncio.Event())
    async with Page() as page:
        await page.submit("Go")
        delta = await page.until("message.delta")
        await page.send("turn.stop", session_id=delta["session_id"])
        await page.until("message.end")
    (row,) = await rows()
    assert unpack(row.output_ids) == [*b"Hi"]
    assert (await contents())[-1] == "Hi"


async def test_continue_appends_to_the_same_message(site: FakeEngine) -> None:
    site.script = says("Once ", asyncio.Event())
    async with Page() as page:
        await page.submit("Tell")
        delta = await page.until("message.delta")
        session_id, message_id = delta["session_id"], delta["message_id"]
        await page.send("turn.stop", session_id=session_id)
        await page.until("message.end")
        for more in ("upon ", "a time"):
            site.script = says(more, asyncio.Event())
            await page.send("turn.continue", session_id=session_id, message_id=message_id)
            started = await page.until("turn.started")
            assert started["continued"] is True
            assert started["user_message"] is None
            await page.until("message.delta")
            await page.send("turn.stop", session_id=session_id)
            end = await page.until("message.end")
    assert page.shown.texts == {message_id: "Once upon a time"}
    assert page.shown.blocks == {message_id: ["<p>Once upon a time</p>"]}
    assert end["length"] == len("Once upon a time")
    assert (await contents())[-1] == "Once upon a time"
    first, second, third = await rows()
    start = len(unpack(first.prompt_ids))
    assert unpack(third.prompt_ids) == [*unpack(first.prompt_ids), *b"Once upon "]
    assert [request.answer_start for request in site.requests] == [None, start, start]
    assert first.message_id == second.message_id == third.message_id


async def test_a_finished_answer_cannot_be_continued(site: FakeEngine) -> None:
    async with Page() as page:
        await page.submit("Hi")
        end = await page.until("message.end")
        await page.send("turn.continue", session_id=end["session_id"], message_id=end["message_id"])
        error = await page.receive()
    assert (error["type"], error["code"]) == ("error", "cannot_continue")


async def test_an_answer_that_reached_its_length_can_be_continued(site: FakeEngine) -> None:
    async with Page() as page:
        await page.submit("Hi", sampling={"max_tokens": 4})
        end = await page.until("message.end")
    assert (end["finish_reason"], end["can_continue"]) == ("length", True)


@pytest.mark.parametrize(
    ("failure", "code", "retryable"),
    [
        (QueueFull("Too many wait.", waiting=9, limit=9), "queue_full", True),
        (RuntimeError("secret detail"), "internal_error", True),
    ],
)
async def test_an_engine_error_ends_the_row_with_its_text(
    site: FakeEngine, failure: Exception, code: str, retryable: bool
) -> None:
    site.script = says("Some text", failure)
    async with Page() as page:
        await page.submit("Go")
        end = await page.until("message.end")
    assert (end["status"], end["error"]["code"]) == ("FAILED", code)
    assert end["error"]["retryable"] is retryable
    assert "secret" not in str(end)
    (row,) = await rows()
    assert (row.status, row.error["code"] if row.error else None) == ("FAILED", code)
    assert (await contents())[-1] == "Some text"


async def test_waiting_and_progress_are_told_and_not_logged(site: FakeEngine) -> None:
    first, second, third = gates = [asyncio.Event() for _ in range(3)]
    site.script = says(Queued(3), first, Loading(2, 8), second, PromptProgress(5, 10), third, "Hi")
    expected = {"queue.position": {"position": 3}, "model.loading": {"done": 2, "total": 8}}
    expected["prompt.progress"] = {"done": 5, "total": 10}
    async with Page() as page:
        await page.submit("Go")
        for gate, (kind, fields) in zip(gates, expected.items(), strict=True):
            told = await page.until(kind)
            assert told == {**told, **fields, "seq": 1}
            gate.set()
        await page.until("message.end")
    kinds = await in_database(lambda: list(Event.objects.values_list("kind", flat=True)))
    assert kinds == ["turn.started", "message.delta", "message.end"]


async def test_the_turn_goes_on_when_its_socket_is_gone(site: FakeEngine) -> None:
    gate = asyncio.Event()
    site.script = says("Before ", gate, "after")
    async with Page() as page:
        await page.submit("Go")
        delta = await page.until("message.delta")
    turn = turns().get(uuid.UUID(delta["session_id"]))
    assert turn is not None
    gate.set()
    assert (await turn.wait_end())["status"] == "DONE"
    assert (await contents())[-1] == "Before after"
    assert site.cancelled == []


async def test_the_same_message_sent_again_is_one_message(site: FakeEngine) -> None:
    async with Page() as page:
        await page.submit("Hi", client_id="mine")
        end = await page.until("message.end")
    async with Page() as page:
        await page.submit("Hi", client_id="mine")
        started = await page.until("turn.started")
        again = await page.until("message.end")
    assert started["client_id"] == "mine"
    assert again["message_id"] == end["message_id"]
    assert page.shown.texts == {end["message_id"]: "You said: Hi"}
    assert len(site.requests) == 1


async def test_another_model_reads_the_conversation_afresh(site: FakeEngine) -> None:
    async with Page() as page:
        await page.submit("One")
        end = await page.until("message.end")
        await page.submit(
            "Two", session_id=end["session_id"], parent_id=end["message_id"], model="story"
        )
        await page.until("message.end")
    _, second = await rows()
    assert unpack(second.prompt_ids) == [*b"OneYou said: OneTwo"]


async def test_a_session_deleted_in_mid_answer_ends_its_turn(site: FakeEngine) -> None:
    site.script = says("Text ", asyncio.Event())
    async with Page() as page:
        await page.submit("Go")
        delta = await page.until("message.delta")
        session_id = uuid.UUID(delta["session_id"])
        owner = (await in_database(Session.objects.get)).owner_id
        await turns().delete(owner_id=owner, session_id=session_id)
        assert (await page.until("message.end"))["status"] == "STOPPED"
        error = await page.receive()
    assert error["code"] == "session_not_found"
    assert await in_database(Session.objects.count) == 0
    assert await in_database(Event.objects.count) == 0


async def test_a_session_deleted_behind_its_back_ends_its_turn(site: FakeEngine) -> None:
    """As the admin's bulk delete does: the rows vanish under the running turn."""

    def script(request: GenerateRequest) -> list[object]:
        return [f"{number} " for number in range(10_000)]

    site.script, site.delay = script, 0.001  # type: ignore[assignment]
    async with Page() as page:
        await page.submit("Go")
        await page.until("message.delta")
        await in_database(lambda: Session.objects.all().delete())
        end = await page.until("message.end")
    assert (end["status"], end["error"]["code"]) == ("FAILED", "turn_lost")
    assert len(site.cancelled) == 1
