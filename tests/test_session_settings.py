"""Settings of a session: kept, named where they are wrong, used by every turn, and recorded; and
presets, which are settings under a name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import AsyncClient

from chat.database import in_database
from chat.errors import InvalidRequest
from chat.identity import local_user
from chat.models import Generation, Preset, Session
from chat.session_settings.errors import sayable
from chat.session_settings.fields import BY_NAME, SAMPLING
from chat.session_settings.values import checked, when_full
from inference.types import MAX_STOP_STRINGS, ModelKind, SamplingParams
from tests.chat_client import Page
from tests.fake_engine import FakeEngine, prompt_text

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

JSON = {"content_type": "application/json"}
PIRATE = {"system_prompt": "Talk like a pirate.", "temperature": 0.9, "stop": ["\n\n"]}


async def asked(method: str, path: str, body: Any = None) -> Any:
    call = getattr(AsyncClient(), method)
    answer = await (call(path) if body is None else call(path, json.dumps(body), **JSON))
    return answer.status_code, (answer.json() if answer.content else None)


async def said(text: str, session_id: str | None = None, **more: Any) -> str:
    body = {"input": text, "session_id": session_id, **more}
    status, answer = await asked("post", "/api/chat", body)
    assert status == 200, answer
    return str(answer["session_id"])


async def begun(settings: dict[str, Any] | None, text: str = "Hello") -> tuple[str, str]:
    """A session that begins with these settings, and its answer."""
    async with Page() as page:
        await page.submit(text, settings=settings)
        end = await page.until("message.end")
    return end["session_id"], end["message_id"]


async def last_row() -> Generation:
    row = await in_database(lambda: Generation.objects.order_by("created_at").last())
    assert row is not None
    return row


async def test_they_travel_with_the_first_message_and_hold_for_every_turn(site: FakeEngine) -> None:
    session, message = await begun(PIRATE)
    first = site.requests[0]
    assert prompt_text(first).startswith("system\nTalk like a pirate.\nuser\nHello")
    assert (first.sampling.temperature, first.sampling.stop) == (0.9, ("\n\n",))

    await said("Over REST", session)
    await said("Overridden", session, temperature=0.1)
    async with Page() as page:
        ids = {"session_id": session, "message_id": message}
        await page.send("turn.regenerate", **ids, model="chat")
        await page.until("message.end")
        await page.send("turn.regenerate", **ids, model="chat", sampling={"temperature": 1.5})
        await page.until("message.end")
    assert [r.sampling.temperature for r in site.requests] == [0.9, 0.9, 0.1, 0.9, 1.5]
    assert all("pirate" in prompt_text(request) for request in site.requests)
    row = await last_row()
    assert row.sampling["temperature"] == 1.5
    assert row.context == {"system_prompt": "Talk like a pirate.", "left_out": 0}


async def test_what_nobody_chose_is_the_model_s_default(site: FakeEngine) -> None:
    session = await said("Hello")
    assert site.requests[0].sampling.temperature == 0.5
    status, told = await asked("get", f"/api/sessions/{session}/settings")
    assert (status, told["settings"], told["defaults"]["temperature"]) == (200, {}, 0.5)
    chosen: dict[str, Any] = {"temperature": 1, "top_k": None, "system_prompt": "  ", "stop": []}
    address = f"/api/sessions/{session}/settings"
    status, told = await asked("put", address, {"settings": chosen})
    assert (status, told["settings"]) == (200, {"temperature": 1})
    await said("Again", session)
    assert site.requests[1].sampling.temperature == 1
    await asked("put", address, {"settings": {}})
    await said("And again", session)
    assert site.requests[2].sampling.temperature == 0.5


async def test_another_system_prompt_is_read_from_the_next_turn_on(site: FakeEngine) -> None:
    """The prompt is made anew once; the turns after it are appended to it, token by token."""
    session, _ = await begun(None)
    address = f"/api/sessions/{session}/settings"
    await asked("put", address, {"settings": {"system_prompt": "Be brief."}})
    await said("Second", session)
    await said("Third", session)
    await asked("put", address, {"settings": {}})
    await said("Fourth", session)
    texts = [prompt_text(request) for request in site.requests]
    assert [text.startswith("system\nBe brief.\n") for text in texts] == [False, True, True, False]
    assert "user\nHello\nassistant\nYou said: Hello\nuser\nSecond" in texts[1]
    assert site.requests[2].prompt_ids[: len(site.requests[1].prompt_ids)] == (
        site.requests[1].prompt_ids
    )
    assert "You said: Second" in texts[3]


async def test_a_story_has_no_system_prompt(site: FakeEngine) -> None:
    async with Page() as page:
        await page.submit("Once", model="story", settings=PIRATE)
        end = await page.until("message.end")
        its = {"session_id": end["session_id"], "parent_id": end["message_id"]}
        await page.submit(" upon", model="story", **its)
        await page.until("message.end")
    first, second = site.requests
    assert prompt_text(first) == "Once"
    assert first.sampling.temperature == 0.9
    assert second.prompt_ids[: len(first.prompt_ids)] == first.prompt_ids
    assert (await last_row()).context == {"system_prompt": "", "left_out": 0}


async def test_settings_cannot_come_with_a_later_message(site: FakeEngine) -> None:
    session, message = await begun(None)
    async with Page() as page:
        await page.submit("More", session_id=session, parent_id=message, settings=PIRATE)
        error = await page.until_error()
    assert (error["code"], error["fields"]["param"]) == ("invalid_request", "settings")


WRONG: list[tuple[str, Any, str]] = [
    ("temperature", 2.1, "0 to 2"),
    ("temperature", "hot", "0 to 2"),
    ("temperature", True, "0 to 2"),
    ("top_k", -1, "whole number"),
    ("top_k", 1.5, "whole number"),
    ("top_p", 0, "above 0"),
    ("min_p", 1.1, "0 to 1"),
    ("repetition_penalty", 0, "above 0"),
    ("presence_penalty", -3, "-2 to 2"),
    ("frequency_penalty", 3, "-2 to 2"),
    ("max_tokens", 0, "whole number from 1"),
    ("seed", -1, "whole number"),
    ("stop", ["a", ""], "16 strings"),
    ("stop", ["a"] * 17, "16 strings"),
    ("stop", [1], "16 strings"),
    ("system_prompt", "x" * 100_001, "100,000"),
    ("system_prompt", 3, "100,000"),
    ("system_prompt", "nul \x00", "100,000"),
    ("temperature", "half \ud800", "0 to 2"),
    ("when_full", "explode", "refuse, slide or summarise"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), WRONG, ids=lambda value: str(value)[:20])
async def test_a_wrong_value_is_named_with_what_is_allowed(
    site: FakeEngine, name: str, value: Any, allowed: str
) -> None:
    session = await said("Hello")
    for method, address in (
        ("put", f"/api/sessions/{session}/settings"),
        ("post", "/api/settings/check"),
    ):
        status, told = await asked(method, address, {"settings": {"top_p": 0.5, name: value}})
        error = told["error"]
        assert (status, error["code"], error["param"]) == (400, "invalid_setting", name)
        assert allowed in error["message"]
        assert sayable(value if isinstance(value, str) else repr(value)) in error["message"]
    kept = await in_database(lambda: Session.objects.get(id=session).settings)
    assert not kept
    async with Page() as page:
        await page.submit("Hi", settings={name: value})
        assert (await page.until_error())["fields"]["param"] == name
    assert await in_database(Session.objects.count) == 1


def test_a_story_goes_on_when_its_model_has_read_all_it_can() -> None:
    assert when_full({}) == "refuse"
    assert when_full({}, ModelKind.COMPLETION) == "slide"
    assert when_full({"when_full": "refuse"}, ModelKind.COMPLETION) == "refuse"


def test_what_is_no_setting_is_refused_and_named() -> None:
    for given, word in (({"warmth": 1}, "warmth"), ([], "settings"), ({"logit_bias": {}}, "logit")):
        with pytest.raises(InvalidRequest, match=word):
            checked(given)


def test_the_panel_s_fields_are_those_of_the_engine() -> None:
    """What is said of a field holds for the engine's own check: its defaults pass."""
    defaults = SamplingParams()
    assert all(hasattr(defaults, field.name) for field in SAMPLING)
    assert str(MAX_STOP_STRINGS) in str(BY_NAME["stop"].allowed)
    given = {field.name: getattr(defaults, field.name) for field in SAMPLING}
    assert set(checked(given)) == set(given) - {"seed", "max_tokens", "stop"}


async def test_presets_are_made_renamed_and_deleted(site: FakeEngine) -> None:
    _, made = await asked("post", "/api/presets", {"name": " Pirate\nking ", "settings": PIRATE})
    assert (made["name"], made["settings"], made["is_default"]) == ("Pirate king", PIRATE, False)
    address = f"/api/presets/{made['id']}"
    _, renamed = await asked("patch", address, {"name": "Captain"})
    assert (renamed["name"], renamed["settings"]) == ("Captain", PIRATE)
    _, changed = await asked("patch", address, {"settings": {"top_k": 3}})
    assert (changed["name"], changed["settings"]) == ("Captain", {"top_k": 3})
    assert [row["name"] for row in (await asked("get", "/api/presets"))[1]] == ["Captain"]
    assert (await asked("delete", address))[0] == 204
    for method, body in (("patch", {"name": "x"}), ("delete", None)):
        assert (await asked(method, address, body))[1]["error"]["code"] == "preset_not_found"


async def test_a_name_is_its_owner_s_own(site: FakeEngine, make_user: Any) -> None:
    await asked("post", "/api/presets", {"name": "Mine", "settings": {}})
    _, other = await asked("post", "/api/presets", {"name": "Other", "settings": {}})
    for call in (
        ("post", "/api/presets", {"name": "Mine", "settings": {}}),
        ("patch", f"/api/presets/{other['id']}", {"name": "Mine"}),
    ):
        status, told = await asked(*call)
        error = told["error"]
        assert (status, error["code"], error["param"]) == (409, "preset_name_taken", "name")
    for name in ("", " \n", "x" * 81):
        status, told = await asked("post", "/api/presets", {"name": name, "settings": {}})
        assert (status, told["error"]["param"]) == (400, "name")
    status, told = await asked("post", "/api/presets", {"name": "New", "settings": {"top_p": 2}})
    assert (status, told["error"]["param"]) == (400, "top_p")

    def elsewhere() -> None:
        Preset.objects.create(owner=make_user("ada"), name="Mine", settings={})

    await in_database(elsewhere)


async def test_new_sessions_begin_with_the_default_preset(site: FakeEngine) -> None:
    made = [
        (await asked("post", "/api/presets", {"name": name, "settings": {"temperature": value}}))[1]
        for name, value in (("Cold", 0.0), ("Hot", 1.9))
    ]
    for preset in made:
        status, told = await asked("patch", f"/api/presets/{preset['id']}", {"is_default": True})
        assert (status, told["is_default"]) == (200, True)
    await said("Hello")
    await begun({})  # a page says what it shows, and here somebody has reset all
    await asked("patch", f"/api/presets/{made[1]['id']}", {"is_default": False})
    await said("Hello")
    assert [r.sampling.temperature for r in site.requests] == [1.9, 0.5, 0.5]


def test_the_database_keeps_one_default() -> None:
    owner = local_user()
    Preset.objects.create(owner=owner, name="One", is_default=True)
    with pytest.raises(IntegrityError), transaction.atomic():
        Preset.objects.create(owner=owner, name="Two", is_default=True)
