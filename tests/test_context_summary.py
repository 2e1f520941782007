"""A conversation that outgrows the context is summarised: once, before the turn that needs it, and
the turns after it go on from the same tokens. One token a byte, so prompts can be read by eye."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.test import AsyncClient

from chat.context.words import instruction
from chat.database import in_database
from chat.forks import session_fork
from chat.identity import local_user
from chat.models import Generation, Quota, Session, Summary, Usage
from chat.packing import unpack
from inference.types import GenerateRequest
from tests.chat_client import Frame, Page
from tests.fake_engine import FakeEngine, Step, prompt_text

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

CONTEXT = 1600
SETTINGS = {"when_full": "summarise", "max_tokens": 60, "system_prompt": "Be kind."}
SUMMARY = "Ann has a cat."
HEADED = f"system\nBe kind.\n\nSummary of the conversation so far:\n{SUMMARY}"


def is_summary(request: GenerateRequest) -> bool:
    return request.request_id.endswith("-summary")


@dataclass
class Talk:
    """Turns on one page. says: what the model makes of an instruction to summarise."""

    page: Page
    engine: FakeEngine
    says: list[Step] = field(default_factory=lambda: [SUMMARY])
    session: str | None = None
    parent: str | None = None
    number: int = 0

    def __post_init__(self) -> None:
        self.engine.codecs["chat"].context_length = CONTEXT
        self.engine.codecs["story"].context_length = CONTEXT
        self.engine.script = self.script

    def script(self, request: GenerateRequest) -> Iterator[Step]:
        yield from self.says if is_summary(request) else ["Well, ", "fine."]

    async def turn(self, text: str = "", **fields: Any) -> Frame:
        await self.begin(text, **fields)
        return await self.end()

    async def begin(self, text: str = "", **fields: Any) -> None:
        self.number += 1
        told = text or f"Question number {self.number}: " + "what about the sea? " * 8
        its = {"session_id": self.session, "parent_id": self.parent, **fields}
        new = {"settings": SETTINGS} if self.session is None else {}
        await self.page.submit(told, **{**new, **its})

    async def end(self) -> Frame:
        end = await self.page.until("message.end")
        self.session, self.parent = end["session_id"], end["message_id"]
        return end

    async def until_summarised(self, count: int = 1) -> None:
        while len(self.summaries) < count:
            await self.turn()
            assert self.number < 40

    @property
    def summaries(self) -> list[GenerateRequest]:
        return [request for request in self.engine.requests if is_summary(request)]

    async def counted(self, **fields: Any) -> Frame:
        name = uuid.uuid4().hex
        given = {"session_id": self.session, "model": "chat", "text": "", **fields}
        await self.page.send("context.count", client_id=name, **given)
        while (frame := await self.page.until("context.counted"))["client_id"] != name:
            pass
        return frame


@pytest.fixture
async def talk(site: FakeEngine) -> Any:
    async with Page() as page:
        yield Talk(page, site)


async def generations() -> list[Generation]:
    return await in_database(lambda: list(Generation.objects.order_by("created_at")))


async def rows() -> list[Summary]:
    return await in_database(lambda: list(Summary.objects.all()))


def written(row: Generation) -> list[int]:
    return [*unpack(row.prompt_ids), *unpack(row.output_ids)]


async def test_it_is_made_once_and_the_turns_after_it_go_on_from_its_prompt(talk: Talk) -> None:
    await talk.until_summarised()
    asked, answered = talk.engine.requests[-2:]
    assert len(talk.engine.requests) == talk.number + 1, "none was begun with the old prompt"
    assert asked.sampling.temperature == 0
    assert asked.sampling.max_tokens == CONTEXT // 8
    assert asked.deadline_s
    made = await generations()
    (summary,) = await rows()
    # of what it reads, all is in the cache but the instruction
    last = next(row for row in made if row.message_id == summary.message_id)
    assert list(asked.prompt_ids[: len(written(last))]) == written(last)
    assert summary.messages == 2 * (made.index(last) + 1)
    told = (summary.text, summary.model, summary.prompt_tokens, summary.output_tokens)
    assert told == (SUMMARY, "chat", len(asked.prompt_ids), len(SUMMARY) + 1)
    assert HEADED in prompt_text(answered)
    assert "Question number 1:" not in prompt_text(answered)
    assert f"Question number {talk.number}:" in prompt_text(answered)
    assert unpack(made[-1].prompt_ids) == list(answered.prompt_ids), "it can be replayed"
    context = {"system_prompt": "Be kind.", "left_out": summary.messages}
    assert made[-1].context == context | {"summary": str(summary.id)}

    await talk.turn()
    after = talk.engine.requests[-1].prompt_ids
    assert list(after[: len(written(made[-1]))]) == written(made[-1])
    assert len(talk.summaries) == 1


async def test_the_page_is_told_while_and_after(talk: Talk) -> None:
    while True:
        before = await talk.counted(text="x" * 220)
        if before["memory"] != "whole":
            break
        await talk.turn()
    assert (before["memory"], before["summary"]) == ("to_summarise", "")
    gate = asyncio.Event()
    talk.says = [gate, SUMMARY]
    await talk.begin("x" * 220)
    frame = await talk.page.until("context.summarising")
    assert (frame["done"], frame["total"]) == (0, CONTEXT // 8)
    gate.set()
    await talk.end()
    now = await talk.counted()
    assert (now["memory"], now["summary"]) == ("summarised", SUMMARY)
    (summary,) = await rows()
    assert now["left_out"] == summary.messages
    last = (await generations())[-1]
    parts = now["parts"]
    assert sum(parts.values()) - parts["reply"] == len(written(last))
    assert parts["summary"] == len(f"\n\nSummary of the conversation so far:\n{SUMMARY}")
    answer = await AsyncClient().get(f"/api/sessions/{talk.session}")
    ids = [message["id"] for message in answer.json()["messages"]]
    assert ids.index(now["begins"]) == summary.messages


async def test_when_full_once_more_it_is_summarised_with_what_came_after(talk: Talk) -> None:
    await talk.until_summarised()
    talk.says = ["Ann has a cat ", "and a boat."]
    await talk.until_summarised(2)
    first, second = await rows()
    assert second.messages > first.messages
    again = prompt_text(talk.summaries[1])
    assert HEADED in again
    assert "Summarize the earlier summary and" in again
    assert "Question number 1:" not in again
    read = prompt_text(talk.engine.requests[-1])
    assert "Ann has a cat and a boat." in read
    assert HEADED + "\n" not in read


async def test_another_version_of_the_turn_reads_the_same_summary(talk: Talk) -> None:
    await talk.until_summarised()
    before = talk.engine.requests[-1]
    ids = {"session_id": talk.session, "message_id": talk.parent}
    await talk.page.send("turn.regenerate", **ids, model="chat")
    end = await talk.end()
    assert end["error"] is None
    assert talk.engine.requests[-1].prompt_ids == before.prompt_ids
    assert len(talk.summaries) == 1
    # below what it is made of, it is of no use
    await talk.turn("Quite another beginning", parent_id=None)
    assert (await talk.counted())["memory"] == "whole"
    assert SUMMARY not in prompt_text(talk.engine.requests[-1])
    await talk.page.send("branch.show", session_id=talk.session, message_id=end["message_id"])
    await talk.page.until("branch.shown")
    assert (await talk.counted())["summary"] == SUMMARY


@pytest.mark.parametrize(
    "says", [[], ["... !"], ["The ", RuntimeError("it broke")]], ids=["nothing", "marks", "broken"]
)
async def test_without_a_summary_the_oldest_turns_are_left_out_and_the_page_says_so(
    talk: Talk, says: list[Step]
) -> None:
    talk.says = says
    await talk.until_summarised()
    now = await talk.counted()
    assert (now["memory"], now["summary"]) == ("not_summarised", "")
    assert now["left_out"] > 0
    last = (await generations())[-1]
    assert (last.status, unpack(last.prompt_ids)) == (
        "DONE",
        list(talk.engine.requests[-1].prompt_ids),
    )
    await talk.turn()
    after = list(talk.engine.requests[-1].prompt_ids)
    assert after[: len(written(last))] == written(last)
    assert await rows() == []
    talk.says = [SUMMARY]
    await talk.until_summarised(len(talk.summaries) + 1)
    assert (await talk.counted())["summary"] == SUMMARY


async def test_a_stop_ends_it_and_the_next_turn_makes_it_anew(talk: Talk) -> None:
    talk.says = [asyncio.Event()]
    while len(talk.summaries) == 0:
        await talk.begin()
        frame = await talk.page.until("context.summarising", "message.end")
        if frame["type"] == "message.end":
            talk.session, talk.parent = frame["session_id"], frame["message_id"]
    await talk.page.send("turn.stop", session_id=talk.session)
    end = await talk.end()
    assert (end["status"], end["can_continue"]) == ("STOPPED", True)
    assert talk.engine.cancelled == [talk.summaries[0].request_id]
    assert await rows() == []
    talk.says = [SUMMARY]
    await talk.turn()
    assert HEADED in prompt_text(talk.engine.requests[-1])


async def test_a_fork_has_it_and_it_goes_with_its_session(talk: Talk) -> None:
    await talk.until_summarised()
    owner = (await in_database(local_user)).id
    its = {"session_id": uuid.UUID(talk.session), "message_id": uuid.UUID(talk.parent)}
    fork = await in_database(lambda: session_fork(owner_id=owner, **its))
    (origin, copy) = await rows()
    assert {origin.session_id, copy.session_id} == {its["session_id"], fork.id}
    text = (
        await AsyncClient().get(f"/api/sessions/{fork.id}/export", {"form": "markdown"})
    ).content
    assert f"> {SUMMARY}" in text.decode()
    told = await AsyncClient().get(f"/api/sessions/{talk.session}/export", {"form": "json"})
    (exported,) = json.loads(told.content)["summaries"]
    assert (exported["text"], exported["sampling"]["temperature"]) == (SUMMARY, 0)
    await in_database(lambda: Session.objects.get(id=its["session_id"]).delete())
    before = (await generations())[-1]
    talk.session, talk.parent = str(fork.id), str(before.message_id)
    await talk.turn()
    after = list(talk.engine.requests[-1].prompt_ids)
    assert after[: len(written(before))] == written(before)
    await in_database(fork.delete)
    assert await rows() == []


async def test_it_is_charged_and_never_beyond_the_limit(talk: Talk) -> None:
    def limit(tokens: int) -> None:
        Quota.objects.update_or_create(user=local_user(), defaults={"tokens_per_day": tokens})

    await in_database(limit, 10**6)
    await talk.until_summarised()
    used = await in_database(Usage.objects.get)
    requests = talk.engine.requests
    assert used.prompt_tokens == sum(len(request.prompt_ids) for request in requests)
    assert used.reserved_tokens == 0
    await in_database(limit, used.prompt_tokens + used.output_tokens + 1)
    await talk.begin()
    assert (await talk.page.until_error())["code"] == "quota_exceeded"


async def test_a_story_and_a_temporary_session_leave_out(talk: Talk) -> None:
    for model, is_temporary in (("story", False), ("chat", True)):
        talk.session = talk.parent = None
        for _ in range(12):
            end = await talk.turn(model=model, temporary=is_temporary)
            assert end["error"] is None
        assert f"Question number {talk.number - 11}:" not in prompt_text(talk.engine.requests[-1])
    assert talk.summaries == []


def test_it_is_asked_for_in_the_language_of_the_conversation() -> None:
    assert instruction("海有多深？", has_earlier=True).startswith("请用几句话")
    assert instruction("How deep is the sea?", has_earlier=False).startswith("Summarize")
