"""A session as a file: all branches, numbers and times, as JSON and as Markdown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import AsyncClient

from chat.database import in_database
from chat.export import exported
from chat.generation import turns
from chat.identity import local_user
from chat.models import Session
from chat.submission import Submission
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def talked() -> str:
    """A question, and the same again in another way: two branches from the beginning, and a third
    one behind the first answer."""
    owner = (await in_database(local_user)).id
    session = parent = None
    for text, follows in (("One", False), ("Two", True), ("Instead", True), ("Anew", False)):
        said = Submission(
            text=text,
            model="chat",
            session_id=session,
            parent_id=parent if follows else None,
            sampling={"seed": 7},
        )
        accepted = await turns().submit(owner_id=owner, submission=said)
        assert accepted.live is not None
        await accepted.live.wait_end()
        session = accepted.session_id
        parent = parent or accepted.live.started.message_id
    await in_database(lambda: Session.objects.update(title="Über Brot/面包"))
    return str(session)


async def saved(session: str, form: str) -> Any:
    answer = await AsyncClient().get(f"/api/sessions/{session}/export", {"form": form})
    assert answer.status_code == 200
    return answer


async def test_json_has_every_branch_with_its_numbers(site: FakeEngine) -> None:
    session = await talked()
    answer = await saved(session, "json")
    assert "attachment" in answer["Content-Disposition"]
    assert "%C3%9Cber%20Brot-%E9%9D%A2%E5%8C%85.json" in answer["Content-Disposition"]
    told = json.loads(answer.content)
    assert (told["schema"], told["version"]) == ("tinyllm.session", 1)
    assert (told["session"]["id"], told["session"]["title"]) == (session, "Über Brot/面包")
    messages = {message["content"]: message for message in told["messages"]}
    assert len(messages) == 8
    assert messages["One"]["parent_id"] is messages["Anew"]["parent_id"] is None
    for text in ("Two", "Instead"):
        assert messages[text]["parent_id"] == messages["You said: One"]["id"]
    (generation,) = messages["You said: Two"]["generations"]
    assert (generation["status"], generation["seed"]) == ("DONE", 7)
    assert generation["output_tokens"] > 0
    assert {"tokens_per_s", "first_token_s"} <= generation["timings"].keys()
    assert generation["created_at"] < generation["finished_at"]


async def test_markdown_says_what_follows_what(site: FakeEngine) -> None:
    text = (await saved(await talked(), "markdown")).content.decode()
    lines = text.splitlines()
    assert lines[0] == "# Über Brot/面包"
    headings = [line.partition(" · ") for line in lines if line.startswith("## ")]
    assert [(name, time.partition(" · ")[2]) for name, _, time in headings] == [
        ("## 1. You", ""),
        ("## 2. Answer", ""),
        ("## 3. You", ""),
        ("## 4. Answer", ""),
        ("## 5. You", "after no. 2"),
        ("## 6. Answer", ""),
        ("## 7. You", "another beginning"),
        ("## 8. Answer", ""),
    ]
    assert "You said: Instead" in lines
    assert sum("seed 7" in line and "chat · DONE · " in line for line in lines) == 4


async def test_it_costs_the_same_however_long(
    site: FakeEngine, django_assert_num_queries: Any
) -> None:
    session = await talked()

    def counted() -> None:
        owner, found = local_user().id, Session.objects.get(id=session).id
        with django_assert_num_queries(4):
            exported(owner_id=owner, session_id=found)

    await in_database(counted)


async def test_another_form_is_refused(site: FakeEngine) -> None:
    session = await talked()
    answer = await AsyncClient().get(f"/api/sessions/{session}/export", {"form": "pdf"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "form")
