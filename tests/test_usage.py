"""What turns cost and what stops them: reserved, settled, never slipped under, and shown."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import AsyncClient
from django.utils import timezone, translation

from chat import services
from chat.database import in_database
from chat.errors import wire
from chat.generation import turns
from chat.identity import local_user
from chat.models import Event, Generation, Quota, Session, Usage, User
from chat.outcome import Outcome
from chat.recovery import recover
from chat.turn_records import StartedTurn, TurnPlan
from chat.usage import Charge, QuotaExceeded, TooManyTurns, limits_of, rate_limit_headers, settle
from tests.chat_client import Page
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

PLAN = TurnPlan("chat", range(10), {"max_tokens": None}, {}, "process", "request", wanted=40)


def start(owner: User) -> StartedTurn:
    return services.turn_start(
        owner_id=owner.id,
        session_id=None,
        parent_id=None,
        client_id=uuid.uuid4().hex,
        text="Hello",
        plan=PLAN,
    )


def finish(turn: StartedTurn, status: str = "DONE", tokens: int = 5) -> None:
    ids = list(range(tokens))
    outcome = Outcome(status, "Hello", ids, ids, "", 10, tokens)
    services.turn_finish(turn=turn, process="process", seq=turn.seq + 1, outcome=outcome)


def day(owner: User) -> tuple[int, int, int, int]:
    row = Usage.objects.get(user=owner)
    return row.turns, row.prompt_tokens, row.output_tokens, row.reserved_tokens


@pytest.fixture
def ada(make_user: Any) -> User:
    user: User = make_user("ada")
    return user


def test_a_turn_reserves_what_it_may_take_and_pays_what_it_took(ada: User) -> None:
    Quota.objects.create(user=ada, tokens_per_day=100)
    one = start(ada)
    assert day(ada) == (0, 0, 0, 50)
    two = start(ada)
    assert day(ada) == (0, 0, 0, 100)
    with pytest.raises(QuotaExceeded, match=r"0 of your 100 tokens.*100 are held"):
        start(ada)
    assert Session.objects.count() == 2
    finish(one)
    assert day(ada) == (1, 10, 5, 50)
    three = start(ada)
    assert three.charge is not None
    assert (three.charge.reserved, three.charge.max_tokens) == (35, 25)
    assert Generation.objects.get(id=three.generation_id).sampling["max_tokens"] == 25
    finish(two, "STOPPED")
    finish(three, "FAILED", 0)
    assert day(ada) == (3, 20, 10, 0)
    assert Generation.objects.filter(sampling__max_tokens=None).count() == 2


def test_without_a_limit_nothing_is_reserved_and_all_is_counted(ada: User) -> None:
    turn = start(ada)
    assert not Usage.objects.exists()
    finish(turn)
    finish(start(ada))
    assert day(ada) == (2, 20, 10, 0)


def test_two_turns_at_once_do_not_both_slip_under_the_limit(ada: User) -> None:
    for field, error in (("tokens_per_day", QuotaExceeded), ("concurrent_turns", TooManyTurns)):
        Session.objects.all().delete()
        Usage.objects.all().delete()
        limit = {"tokens_per_day": 50, "concurrent_turns": 1}[field]
        Quota.objects.update_or_create(
            user=ada, defaults={"tokens_per_day": 0, "concurrent_turns": 0, field: limit}
        )
        together = threading.Barrier(4)
        ends: list[Any] = []

        def try_it(together: threading.Barrier = together, ends: list[Any] = ends) -> None:
            together.wait(60)
            try:
                ends.append(start(ada))
            except Exception as refused:
                ends.append(refused)
            finally:
                connection.close()

        threads = [threading.Thread(target=try_it) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(60)
        assert sorted(type(end).__name__ for end in ends) == sorted(
            ["StartedTurn", *[error.__name__] * 3]
        )


def test_settling_at_once_loses_nothing(ada: User) -> None:
    charge = Charge(ada.id, timezone.now())
    together = threading.Barrier(4)

    def pay() -> None:
        together.wait(60)
        for _ in range(10):
            settle(charge, 2, 3)
        connection.close()

    threads = [threading.Thread(target=pay) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert day(ada) == (40, 80, 120, 0)


def test_a_crash_costs_what_had_been_written(ada: User) -> None:
    Quota.objects.create(user=ada, tokens_per_day=100)
    turn = start(ada)
    delta = {"text": "abc", "ids": [1, 2, 3], "offsets": [0, 1, 2]}
    Event.objects.create(
        session_id=turn.session_id, generation_id=turn.generation_id, seq=turn.seq + 1,
        kind="message.delta", payload=delta,
    )  # fmt: skip
    row = Generation.objects.get()
    row.message.content = "abc"
    row.message.save()
    Generation.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    assert recover(process="another") == [turn.session_id]
    assert day(ada) == (1, 10, 3, 0)


def test_in_a_full_database_the_row_that_is_there_is_charged(ada: User) -> None:
    Quota.objects.create(user=ada, tokens_per_day=100)
    turn = start(ada)
    outcome = Outcome("FAILED", "x", [1], [0], "", 10, 1, error={"code": "storage_failed"})
    services.turn_fail_row(turn=turn, process="process", outcome=outcome)
    assert day(ada) == (1, 10, 1, 0)


@pytest.mark.parametrize(
    ("own", "groups", "site", "expected"),
    [
        (None, [], 0, None),
        (None, [], 70, 70),
        (None, [50, 90], 70, 90),
        (None, [50, 0], 70, None),
        (None, [None], 70, 70),
        (20, [50, 0], 70, 20),
        (0, [50], 70, None),
    ],
)
def test_the_nearest_limit_counts(
    ada: User, settings: Any, own: int | None, groups: list[int | None], site: int, expected: int
) -> None:
    settings.TINYLLM_TOKENS_PER_DAY = site
    Quota.objects.create(user=ada, tokens_per_day=own)
    for number, limit in enumerate(groups):
        group = Group.objects.create(name=f"g{number}")
        Quota.objects.create(group=group, tokens_per_day=limit)
        ada.groups.add(group)
    assert limits_of(owner_id=ada.id).tokens_per_day == expected
    assert limits_of(owner_id=ada.id).concurrent_turns is None


def test_a_quota_is_of_a_user_or_of_a_group(ada: User) -> None:
    with pytest.raises(ValidationError):
        Quota().full_clean()
    with pytest.raises(ValidationError):
        Quota(user=ada, group=Group.objects.create(name="g")).full_clean()
    Quota(user=ada, tokens_per_day=1).full_clean()


def test_a_day_ends_at_midnight_utc(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    Quota.objects.create(user=ada, tokens_per_day=60)
    late = datetime(2030, 5, 1, 23, 0, 1, tzinfo=UTC)
    monkeypatch.setattr(timezone, "now", lambda: late)
    running = start(ada)
    with pytest.raises(QuotaExceeded):
        start(ada)
    monkeypatch.setattr(timezone, "now", lambda: late + timedelta(hours=1))
    finish(running)  # it counts on the day on which it began
    assert Usage.objects.get(user=ada).day == late.date()
    start(ada)
    refused = QuotaExceeded(60, 60, 0, late)
    assert refused.retry_after_s == 3599
    assert "2030-05-02 00:00 UTC" in refused.message
    told = wire(refused)
    assert told.as_dict()["fields"]["resets_at"] == "2030-05-02T00:00:00+00:00"
    assert "retry_after_s" not in told.as_dict()  # a page does not count down for hours
    monkeypatch.setattr(timezone, "now", lambda: late)
    assert rate_limit_headers(told) == {
        "x-ratelimit-limit-tokens": "60",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "3599s",
    }
    with translation.override("zh-hans"):
        assert "今天的 60 个 token" in QuotaExceeded(60, 60, 0, late).message


async def test_a_refusal_is_429_with_headers_and_a_typed_error_on_the_socket(
    site: FakeEngine, settings: Any
) -> None:
    settings.TINYLLM_CONCURRENT_TURNS = 1
    gate = asyncio.Event()
    site.script = lambda request: ["words ", gate]
    async with Page() as page:
        await page.submit("Long")
        await page.until("message.delta")
        answer = await say()
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_turns")
        assert answer.json()["error"]["type"] == "rate_limit_error"
        assert answer["Retry-After"] == "5"
        assert answer["x-ratelimit-limit-requests"] == "1"
        gate.set()
        await page.until("message.end")
        settings.TINYLLM_CONCURRENT_TURNS = 0
        settings.TINYLLM_TOKENS_PER_DAY = 30
        answer = await say()
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "quota_exceeded")
        assert int(answer["Retry-After"]) > 0
        assert answer["x-ratelimit-limit-tokens"] == "30"
        name = await page.submit("More")
        error = await page.until_error()
        assert (error["code"], error["client_id"]) == ("quota_exceeded", name)
        assert error["fields"]["limit"] == 30
    assert await in_database(Generation.objects.count) == 1


async def say(**fields: Any) -> Any:
    body = json.dumps({"input": "Hi", **fields})
    return await AsyncClient().post("/api/chat", body, content_type="application/json")


async def test_an_answer_ends_where_the_allowance_does(site: FakeEngine, settings: Any) -> None:
    settings.TINYLLM_TOKENS_PER_DAY = 40
    site.script = lambda request: ("a" for _ in range(10**6))
    answer = (await say()).json()
    used = answer["usage"]["prompt_tokens"] + answer["usage"]["output_tokens"]
    assert (answer["finish_reason"], used) == ("length", 40)
    mine = (await AsyncClient().get("/api/usage")).json()
    assert (mine["used"], mine["remaining"], mine["reserved"], mine["running"]) == (40, 0, 0, 0)
    assert [each["turns"] for each in mine["days"]] == [1]


async def test_what_never_began_costs_nothing(site: FakeEngine, settings: Any) -> None:
    settings.TINYLLM_TOKENS_PER_DAY = 100
    site.script = lambda request: [RuntimeError("no")]
    assert (await say()).status_code == 500
    mine = (await AsyncClient().get("/api/usage")).json()
    assert (mine["used"], mine["remaining"], mine["tokens_per_day"]) == (0, 100, 100)


async def test_a_person_s_requests_are_one_tenant_s(site: FakeEngine) -> None:
    """So the scheduler's turns are fair between people."""
    await say()
    owner = await in_database(local_user)
    assert [each.tenant for each in site.requests] == [str(owner.id)]
    assert turns().generation_ids() == []
