"""The glass box: tokens of an answer with their odds, and answers that go on from another token."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from django.test import AsyncClient

from chat.database import in_database
from chat.models import Generation, Message
from chat.packing import unpack
from inference.examination import Inspection
from tests.chat_client import Frame, Page
from tests.fake_engine import END, FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def asked(page: Page, text: str = "Hi", **fields: Any) -> Frame:
    await page.submit(text, **fields)
    return await page.until("message.end")


async def get(path: str) -> tuple[int, Any]:
    answer = await AsyncClient().get(path)
    return answer.status_code, answer.json()


async def tokens(message_id: str) -> list[dict[str, Any]]:
    status, told = await get(f"/api/messages/{message_id}/tokens")
    assert status == 200
    found: list[dict[str, Any]] = told["tokens"]
    return found


async def newest() -> Generation:
    return await in_database(lambda: Generation.objects.order_by("created_at").last())  # type: ignore[arg-type,return-value]


async def test_the_tokens_of_an_answer_make_its_text(site: FakeEngine) -> None:
    async with Page() as page:
        end = await asked(page, "Zoë")
    listed = await tokens(end["message_id"])
    assert "".join(token["text"] for token in listed) == "You said: Zoë"
    # half a character by itself
    assert [token["name"] for token in listed[-3:]] == ["⟨C3⟩", "⟨AB⟩", "<|im_end|>"]
    assert [token["text"] for token in listed[-3:]] == ["", "ë", ""]
    assert [token["start"] for token in listed[-3:]] == [12, 12, 13]
    assert [token["ends"] for token in listed[-3:]] == [False, False, True]
    assert site.questions == []


async def test_odds_are_asked_for_with_what_was_recorded(site: FakeEngine) -> None:
    async with Page() as page:
        end = await asked(page, sampling={"temperature": 0.3, "top_k": 7})
    status, told = await get(f"/api/messages/{end['message_id']}/tokens/4?count=2")
    assert status == 200
    assert told["changed"] == []
    assert [token["index"] for token in told["tokens"]] == [4, 5]
    assert told["tokens"][0]["token"] == {
        "id": ord("s"), "text": "s", "raw": 0.75, "sampled": 1.0, "ends": False,
    }  # fmt: skip
    assert told["tokens"][0]["alternatives"][1]["text"] == "t"
    (question,) = site.questions
    assert isinstance(question, Inspection)
    prompt = site.requests[0].prompt_ids
    assert question.ids == (*prompt, *b"You sa")
    assert (question.first, question.answer_start) == (len(prompt) + 4, len(prompt))
    assert question.sampling.temperature == 0.3
    assert question.sampling.top_k == 7


async def test_a_continued_answer_is_one_row_of_tokens(site: FakeEngine) -> None:
    """Each of its parts was drawn with its own sampling."""
    async with Page() as page:
        end = await asked(page, "Hello", sampling={"max_tokens": 4})
        ids = {"session_id": end["session_id"], "message_id": end["message_id"]}
        site.script = lambda request: ["said ", "more"]
        await in_database(lambda: Generation.objects.update(sampling={"temperature": 0.9}))
        await page.send("turn.continue", **ids)
        await page.until("message.end")
    listed = await tokens(end["message_id"])
    assert "".join(token["text"] for token in listed) == "You said more"
    assert [token["start"] for token in listed] == [*range(13), 13]
    await in_database(
        lambda: Generation.objects.filter(finish_reason="length").update(sampling={"top_k": 3})
    )
    status, told = await get(f"/api/messages/{end['message_id']}/tokens/2?count=4")
    assert status == 200
    assert [token["token"]["text"] for token in told["tokens"]] == list("u sa")
    asked_about = [each for each in site.questions if isinstance(each, Inspection)]
    assert [question.sampling.top_k for question in asked_about] == [3, 0]


async def test_what_cannot_be_looked_at_is_refused(site: FakeEngine) -> None:
    async with Page() as page:
        end = await asked(page)
    path = f"/api/messages/{end['message_id']}/tokens"
    for bad, param in (("/99", "index"), ("/-1", "index"), ("/0?count=33", "count")):
        status, told = await get(path + bad)
        assert (status, told["error"]["param"]) == (400, param)
    user = await in_database(lambda: Message.objects.get(role="user"))
    for other in (user.id, uuid.uuid4(), "nonsense"):
        assert (await get(f"/api/messages/{other}/tokens"))[0] == 404
    row = await newest()
    row.fingerprint["weights"] = "others"
    await row.asave()
    assert (await get(f"{path}/0"))[1]["changed"] == ["weights"]
    row.fingerprint["tokenizer"] = "others"
    await row.asave()
    status, told = await get(f"{path}/0")
    assert (status, told["error"]["code"]) == (409, "model_changed")


async def test_an_answer_goes_on_from_another_token(site: FakeEngine) -> None:
    async with Page() as page:
        end = await asked(page, sampling={"temperature": 0.3})
        ids = {"session_id": end["session_id"], "message_id": end["message_id"]}
        site.script = lambda request: ["aid it"]
        await page.send("turn.branch_token", **ids, index=4, token_id=ord("p"))
        started = await page.until("turn.started")
        assert started["message"]["text"] == "You p"
        assert started["user_message"] is None
        branch = await page.until("message.end")
        assert page.shown.texts[branch["message_id"]] == "You paid it"
        assert branch["length"] == len("You paid it")
        # what follows is spliced onto it, token by token
        site.script = lambda request: ["Yes"]
        await asked(page, "Sure?", session_id=end["session_id"], parent_id=branch["message_id"])
    first, second, third = site.requests
    start = len(first.prompt_ids)
    assert second.prompt_ids == (*first.prompt_ids, *b"You p")
    assert second.answer_start == start
    assert second.sampling == first.sampling
    assert third.prompt_ids[: start + 12] == (*first.prompt_ids, *b"You paid it", END)
    listed = await tokens(branch["message_id"])
    assert "".join(token["text"] for token in listed) == "You paid it"
    status, told = await get(f"/api/messages/{branch['message_id']}/tokens/3?count=3")
    assert status == 200
    assert [token["given"] for token in told["tokens"]] == [True, True, False]
    (question,) = site.questions
    assert isinstance(question, Inspection)
    assert question.answer_start == start
    old, new = await in_database(
        lambda: list(Message.objects.filter(role="assistant").order_by("created_at")[:2])
    )
    assert (old.content, new.content) == ("You said: Hi", "You paid it")
    assert old.parent_id == new.parent_id


async def test_a_branch_that_was_stopped_is_continued_and_branched_again(site: FakeEngine) -> None:
    async with Page() as page:
        end = await asked(page)
        ids = {"session_id": end["session_id"], "message_id": end["message_id"]}
        site.script = lambda request: ["re ", asyncio.Event()]
        # in the place of the token that ended it
        last = len("You said: Hi")
        await page.send("turn.branch_token", **ids, index=last, token_id=ord("!"))
        ids["message_id"] = (await page.until("message.delta"))["message_id"]
        await page.send("turn.stop", session_id=ids["session_id"])
        assert (await page.until("message.end"))["status"] == "STOPPED"
        site.script = lambda request: ["you"]
        await page.send("turn.continue", **ids)
        await page.until("message.end")
        assert page.shown.texts[ids["message_id"]] == "You said: Hi!re you"
        start = len(site.requests[0].prompt_ids)
        assert [request.answer_start for request in site.requests] == [None, start, start]
        await page.send("turn.branch_token", **ids, index=1, token_id=ord("e"))
        ids["message_id"] = (await page.until("message.end"))["message_id"]
    assert page.shown.texts[ids["message_id"]] == "Yeyou"
    row = await newest()
    assert row.answer_start == start
    assert unpack(row.prefix_offsets) == [0, 1]


async def test_half_a_character_is_shown_when_it_is_whole(site: FakeEngine) -> None:
    async with Page() as page:
        end = await asked(page, "Zo")
        ids = {"session_id": end["session_id"], "message_id": end["message_id"]}
        site.script = lambda request: ["ë!"]
        last = len("You said: Zo")
        await page.send("turn.branch_token", **ids, index=last, token_id=0xC3)
        assert (await page.until("turn.started"))["message"]["text"] == "You said: Zo"
        await page.until("message.end")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"index": 99, "token_id": 65}, "index"),
        ({"index": -1, "token_id": 65}, "index"),
        ({"index": 0, "token_id": 9999}, "token_id"),
        ({"index": 0, "token_id": END}, "token_id"),
        ({"index": 0, "token_id": "a"}, "token_id"),
        ({"index": True, "token_id": 65}, "index"),
    ],
)
async def test_a_bad_choice_writes_nothing(
    site: FakeEngine, fields: dict[str, Any], param: str
) -> None:
    async with Page() as page:
        end = await asked(page)
        ids = {"session_id": end["session_id"], "message_id": end["message_id"]}
        await page.send("turn.branch_token", **ids, **fields)
        error = await page.until_error()
        assert (error["code"], error["fields"]["param"]) == ("invalid_request", param)
    assert await in_database(Message.objects.count) == 2
