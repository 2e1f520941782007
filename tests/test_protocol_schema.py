"""The schema of the websocket's frames: current, and true of the frames of real turns."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import pytest
from django.test import AsyncClient
from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from chat import frames
from chat.database import in_database
from chat.errors import InvalidRequest
from chat.files.upload import take_in
from chat.identity import local_user
from chat.models import Event
from chat.privacy.break_glass import break_glass
from chat.protocol import SiteFrame, schema
from inference.types import Loading, PromptProgress, Queued
from tests.chat_client import Frame, Page, Shown
from tests.fake_engine import FakeEngine, Step, echo
from tests.test_context_summary import Talk

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = schema()


def checker(side: str) -> Draft202012Validator:
    """Of the frames of one side. What has a type of its own is told by that alone."""
    whole = {"$ref": f"#/$defs/{side}", "$defs": SCHEMA["$defs"]}
    return Draft202012Validator(whole, format_checker=FormatChecker())


FROM_PAGE, FROM_SITE = checker("FromPage"), checker("FromSite")


def test_the_schema_that_is_kept_is_current() -> None:
    kept = json.loads((ROOT / "docs/protocol.schema.json").read_text())
    assert kept == SCHEMA, "write it again: manage.py protocol_schema > docs/protocol.schema.json"
    Draft202012Validator.check_schema(kept)


WAITING = ("queue.position", "model.loading", "prompt.progress")


class Watched(Page):
    """Every frame of both sides is held to the schema. seen: the types that the site sent."""

    seen: set[str]

    async def send(self, kind: str, **fields: Any) -> None:
        FROM_PAGE.validate({"v": 1, "type": kind, **fields})
        await super().send(kind, **fields)

    async def receive(self) -> Frame:
        frame = await super().receive()
        FROM_SITE.validate(frame)
        self.seen.add(frame["type"])
        return frame


def types_of_the_site() -> set[str]:
    kinds = [kind.model_fields["type"].annotation for kind in get_args(SiteFrame)]
    return {get_args(each)[0] for each in kinds}


@pytest.mark.fake_engine
@pytest.mark.django_db(transaction=True)
async def test_every_frame_of_real_turns_is_as_it_says(site: FakeEngine) -> None:
    told: list[Step] = [Queued(1), Loading(2, 5), PromptProgress(1, 2)]
    gates = [asyncio.Event() for _ in told]
    waits: list[Step] = [each for pair in zip(told, gates, strict=True) for each in pair]
    site.script = lambda request: [*waits, *echo(request)]
    Watched.seen = set()
    file = await take_in(
        owner_id=(await in_database(local_user)).id, name="a.txt", data=b"Some text", model="chat"
    )
    async with Watched() as page:
        await page.submit("Hello *there*", files=[str(file.id)], sampling={"seed": 1})
        for kind, gate in zip(WAITING, gates, strict=True):
            await page.until(kind)
            gate.set()
        end = await page.until("message.end")
        session, answer = end["session_id"], end["message_id"]
        its = {"session_id": session, "message_id": answer}
        await page.send("turn.regenerate", **its, model="chat")
        await page.until("message.end")
        await page.send("branch.show", **its)
        await page.until("branch.shown")
        await page.send("context.count", client_id="c", session_id=session, model="chat", text="x")
        await page.until("context.counted")
        path = f"/api/sessions/{session}"
        await AsyncClient().patch(path, '{"title": "A"}', content_type="application/json")
        await page.until("sessions.changed")
        await inspected(UUID(session))
        assert (await page.until("session.inspected"))["session_id"] == session
        await page.send("turn.continue", **its)
        await page.until_error()
        page.shown = Shown()
        await page.send("session.open", session_id=session, after=0)
        await page.until("message.end")
        await in_database(Event.objects.filter(kind="message.delta").delete)
        await page.send("session.open", session_id=session, after=2)
        await page.until("session.reset")
    async with Watched() as page:
        await outgrown(page, site)
    assert Watched.seen == types_of_the_site()


async def inspected(session: UUID) -> None:
    """Somebody who runs the site opens the conversation."""
    its: dict[str, Any] = {"session_id": session, "reason": "She asked us"}
    await in_database(lambda: break_glass(reader=local_user(), **its))


async def outgrown(page: Page, site: FakeEngine) -> None:
    """A conversation that becomes longer than the context, and is summarised."""
    gate = asyncio.Event()
    talk = Talk(page, site, says=[gate, "They met."])
    while not talk.summaries:
        await talk.begin()
        frame = await page.until("context.summarising", "message.end")
        talk.session, talk.parent = frame["session_id"], frame["message_id"]
    gate.set()
    await page.until("message.end")


ID = str(UUID(int=1))
SENT: dict[str, dict[str, Any]] = {
    "session.open": {"session_id": ID, "after": 0},
    "turn.submit": {"client_id": "c", "session_id": None, "parent_id": None, "text": "x",
                    "model": "chat"},
    "turn.stop": {"session_id": ID},
    "turn.continue": {"session_id": ID, "message_id": ID},
    "turn.regenerate": {"session_id": ID, "message_id": ID, "model": "chat"},
    "turn.branch_token": {"session_id": ID, "message_id": ID, "index": 0, "token_id": 1},
    "turn.rewrite": {"client_id": "c", "session_id": ID, "message_id": ID, "text": "x"},
    "branch.show": {"session_id": ID, "message_id": ID},
    "context.count": {"client_id": "c", "session_id": ID, "model": "chat", "text": ""},
}  # fmt: skip
WRONG: list[Any] = [7, True, "", "nonsense", None, [], {}, -1, 2**53, "x" * 65, str(UUID(int=2))]


def is_read(frame: Frame) -> bool:
    try:
        frames.parse(json.dumps(frame))
    except InvalidRequest:
        return False
    return True


def is_allowed(frame: Frame) -> bool:
    try:
        FROM_PAGE.validate(frame)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("kind", SENT)
def test_the_site_reads_what_the_schema_allows_and_nothing_else(kind: str) -> None:
    right = {"v": 1, "type": kind, **SENT[kind]}
    assert is_read(right)
    assert is_allowed(right)
    for name in right:
        without = {each: value for each, value in right.items() if each != name}
        assert is_read(without) == is_allowed(without), without
        for value in WRONG:
            changed = {**right, name: value}
            assert is_read(changed) == is_allowed(changed), changed


def test_every_frame_of_a_page_is_among_them() -> None:
    kinds = {type(frames.parse(json.dumps({"v": 1, "type": k, **f}))) for k, f in SENT.items()}
    assert kinds == set(get_args(frames.ClientFrame))
