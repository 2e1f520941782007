"""What presets were: kept with each change, given back, and named by answers."""

from __future__ import annotations

from typing import Any

import pytest

from chat.database import in_database
from chat.generation import turns
from chat.identity import local_user
from chat.models import Generation, Preset, PresetVersion
from chat.session_settings import versions
from chat.session_settings.presets import preset_change, preset_create, version_restore
from chat.session_settings.versions import digest
from chat.submission import Submission
from tests.fake_engine import FakeEngine
from tests.test_session_settings import PIRATE, asked

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


def kept(preset: Preset) -> list[tuple[int, str, Any]]:
    rows = PresetVersion.objects.filter(preset=preset).order_by("number")
    return [(row.number, row.name, row.settings) for row in rows]


async def test_each_change_keeps_what_was_and_one_is_given_back(site: FakeEngine) -> None:
    _, made = await asked("post", "/api/presets", {"name": "Pirate", "settings": PIRATE})
    address = f"/api/presets/{made['id']}"
    for change in (
        {"settings": {"top_k": 3}},
        {"name": "Captain"},
        {"is_default": True},
        {"name": "Captain", "settings": {"top_k": 3}},
    ):
        assert (await asked("patch", address, change))[0] == 200
    _, told = await asked("get", f"{address}/versions")
    shown = [(row["number"], row["name"], row["settings"]) for row in told]
    assert shown == [
        (3, "Captain", {"top_k": 3}),
        (2, "Pirate", {"top_k": 3}),
        (1, "Pirate", PIRATE),
    ]

    status, now = await asked("post", f"{address}/versions/1/restore", {})
    assert (status, now["name"], now["settings"]) == (200, "Captain", PIRATE)
    assert now["is_default"]
    _, told = await asked("get", f"{address}/versions")
    assert [(row["number"], row["settings"]) for row in told[:2]] == [
        (4, PIRATE),
        (3, {"top_k": 3}),
    ]
    status, told = await asked("post", f"{address}/versions/9/restore", {})
    assert (status, told["error"]["code"]) == (404, "version_not_found")
    await asked("delete", address)
    assert await in_database(PresetVersion.objects.count) == 0
    for method, action, body in (("get", "versions", None), ("post", "versions/1/restore", {})):
        status, told = await asked(method, f"{address}/{action}", body)
        assert (status, told["error"]["code"]) == (404, "preset_not_found")


def test_a_refused_change_keeps_no_version() -> None:
    its: dict[str, Any] = {"owner_id": local_user().id}
    preset_create(**its, name="Mine", settings={})
    preset = preset_create(**its, name="Other", settings={"top_k": 1})
    with pytest.raises(Exception, match="already have"):
        preset_change(**its, preset_id=preset.id, name="Mine", settings={"top_k": 2})
    assert kept(preset) == [(1, "Other", {"top_k": 1})]


def test_the_oldest_version_goes_when_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "KEPT", 3)
    its: dict[str, Any] = {"owner_id": local_user().id}
    preset = preset_create(**its, name="Mine", settings={"top_k": 1})
    for value in (2, 3, 4, 5):
        preset_change(**its, preset_id=preset.id, settings={"top_k": value})
    assert [number for number, *_ in kept(preset)] == [3, 4, 5]
    version_restore(**its, preset_id=preset.id, number=3)
    assert [row[0::2] for row in kept(preset)] == [
        (4, {"top_k": 4}), (5, {"top_k": 5}), (6, {"top_k": 3}),
    ]  # fmt: skip


async def test_an_answer_names_the_version_that_it_was_written_with(site: FakeEngine) -> None:
    owner = await in_database(local_user)
    its: dict[str, Any] = {"owner_id": owner.id}
    preset = await in_database(preset_create, **its, name="Pirate", settings=PIRATE)
    await in_database(preset_create, **its, name="Nothing", settings={})
    first = await in_database(lambda: preset.versions.get())

    async def said(settings: dict[str, Any] | None, session_id: Any = None) -> Any:
        submission = Submission(
            text="Hi", model="chat", settings=settings, session_id=session_id, newest=True
        )
        accepted = await turns().submit(owner_id=owner.id, submission=submission)
        assert accepted.live is not None
        await accepted.live.wait_end()
        row = await Generation.objects.aget(id=accepted.live.started.generation_id)
        return accepted.session_id, row.preset_version_id

    session, used = await said(PIRATE)
    assert used == first.id
    assert (await said({**PIRATE, "top_k": 7}))[1] is None
    assert (await said({}))[1] is None
    assert (await said(dict(reversed(PIRATE.items()))))[1] == first.id
    await in_database(preset_change, **its, preset_id=preset.id, settings={"top_k": 7})
    second = await in_database(lambda: preset.versions.get(number=2))
    # The session still has what the first one said.
    assert (await said(None, session))[1] == first.id
    assert (await said({"top_k": 7}))[1] == second.id
    await in_database(preset_change, **its, preset_id=preset.id, is_default=True)
    assert (await said(None))[1] == second.id
    await in_database(Preset.objects.filter(id=preset.id).delete)
    assert await in_database(Generation.objects.filter(preset_version=None).count) == 7


def test_another_person_s_preset_is_no_version_of_mine(make_user: Any) -> None:
    preset_create(owner_id=make_user("ada").pk, name="Pirate", settings=PIRATE)
    assert versions.version_of(owner_id=local_user().id, settings=PIRATE) is None


def test_the_same_settings_have_one_digest_in_any_order() -> None:
    assert digest({"a": 1, "b": "é"}) == digest({"b": "é", "a": 1}) != digest({"a": 1, "b": "e"})
