"""How long conversations are kept: which are due, how they go, and that the database finds them by
an index."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from chat import audit, live_settings
from chat.database import in_database
from chat.files.upload import take_in
from chat.generation import turns
from chat.live_settings import setting_change
from chat.models import (
    AuditEntry,
    File,
    Generation,
    Message,
    Retention,
    SearchText,
    Session,
    User,
)
from chat.privacy import retention
from chat.privacy.retention import Kept, enforce, kept_for, rules, sessions_expire, sweep
from chat.submission import Submission
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

DAYS = "TINYLLM_RETENTION_DAYS"


@pytest.fixture(autouse=True)
def nothing_is_kept() -> Iterator[None]:
    """What the admin chose is in memory."""
    yield
    live_settings._chosen.clear()


def old(owner: User, days: float, **fields: Any) -> Session:
    return Session.objects.create(
        owner=owner,
        title=f"{days} days",
        model="chat",
        updated_at=timezone.now() - timedelta(days=days),
        **fields,
    )


def member(make_user: Any, name: str, **groups: int) -> User:
    """groups: by name, how many days each keeps."""
    user: User = make_user(name)
    for group, days in groups.items():
        row, _made = Group.objects.get_or_create(name=group)
        Retention.objects.get_or_create(group=row, defaults={"days": days})
        user.groups.add(row)
    return user


def due() -> set[tuple[str, str]]:
    found = [session for rule in rules(now=timezone.now()) for session in rule.due]
    return {(session.owner.username, session.title) for session in found}


def test_by_default_they_are_kept_for_ever(make_user: Any) -> None:
    ada = make_user("ada")
    old(ada, 9999)
    assert due() == set()
    assert kept_for(owner_id=ada.pk) == Kept(None)


def test_a_group_goes_before_the_site_and_the_shortest_of_several_counts(make_user: Any) -> None:
    people = {
        "ada": member(make_user, "ada"),
        "bob": member(make_user, "bob", week=7),
        "cyd": member(make_user, "cyd", week=7, year=365),
        "dan": member(make_user, "dan", year=365),
        "eve": member(make_user, "eve", always=0),
        "fay": member(make_user, "fay", always=0, year=365),
    }
    for user in people.values():
        for days in (3, 10, 40, 400):
            old(user, days)
    setting_change(name=DAYS, text="30")
    assert due() == {
        (name, f"{days} days")
        for name, gone in {
            "ada": (40, 400), "bob": (10, 40, 400), "cyd": (10, 40, 400), "dan": (400,),
            "fay": (400,),
        }.items()
        for days in gone
    }  # fmt: skip
    assert {name: kept_for(owner_id=user.pk) for name, user in people.items()} == {
        "ada": Kept(30),
        "bob": Kept(7, "week"),
        "cyd": Kept(7, "week"),
        "dan": Kept(365, "year"),
        "eve": Kept(None, "always"),
        "fay": Kept(365, "year"),
    }
    setting_change(name=DAYS, text="0")
    assert ("ada", "400 days") not in due()
    assert ("bob", "10 days") in due()


def test_pinned_ones_are_due_and_those_that_are_written_or_on_their_way_out_are_not(
    make_user: Any,
) -> None:
    ada = make_user("ada")
    setting_change(name=DAYS, text="30")
    old(ada, 31, pinned=True)
    old(ada, 32, archived=True)
    old(ada, 33, deleted_at=timezone.now())
    running = old(ada, 34)
    answer = Message.objects.create(session=running, role="assistant")
    Generation.objects.create(session=running, message=answer, model="chat")
    assert due() == {("ada", "31 days"), ("ada", "32 days")}


async def test_all_of_a_session_goes_as_when_a_person_deletes_it(
    site: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await in_database(User.objects.create_user, "local")
    told: list[Any] = []

    async def announced(owner_id: Any, session: dict[str, Any]) -> None:
        told.append((owner_id, session["id"], session["deleted"]))

    monkeypatch.setattr(retention, "announce_edit", announced)
    kept, gone = [await said(owner) for _ in range(2)]
    site.saved = {str(kept), str(gone)}
    yesterday = timezone.now() - timedelta(days=2)
    await in_database(Session.objects.filter(id=gone).update, updated_at=yesterday)
    await in_database(setting_change, name=DAYS, text="1")
    await sweep()
    left = await in_database(sessions_of_rows)
    assert left == [{kept}] * 4
    assert await in_database(File.objects.count) == 1
    assert site.saved == {str(kept)}
    assert told == [(owner.id, str(gone), True)]
    entry = await in_database(AuditEntry.objects.get, action="retention.expire")
    assert (entry.actor, entry.after) == (
        audit.THE_SITE,
        {"sessions": 1, "days": 1, "groups": []},
    )
    await sweep()
    assert await in_database(AuditEntry.objects.filter(action="retention.expire").count) == 1


def sessions_of_rows() -> list[set[Any]]:
    """Of whose sessions there are rows, table by table."""
    tables: list[tuple[Any, str]] = [(Session, "id")]
    tables += [(model, "session_id") for model in (Message, Generation, SearchText)]
    return [set(model.objects.values_list(name, flat=True)) for model, name in tables]


async def said(owner: User) -> Any:
    """A session with a file of its own."""
    count = await in_database(File.objects.count)
    data = b"x" * (count + 1)
    file = await take_in(owner_id=owner.id, name=f"{count}.txt", data=data, model="chat")
    accepted = await turns().submit(
        owner_id=owner.id, submission=Submission(text="Hi", model="chat", files=(file.id,))
    )
    assert accepted.live is not None
    await accepted.live.wait_end()
    return accepted.session_id


def test_many_go_batch_by_batch(make_user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    ada, bob = make_user("ada"), member(make_user, "bob", week=7)
    for user in (ada, bob):
        for days in range(31, 36):
            old(user, days)
    setting_change(name=DAYS, text="30")
    now = timezone.now()
    sizes = []
    while batch := sessions_expire(now=now, by=audit.NOBODY):
        sizes.append((batch[0].owner.username, len(batch)))
    assert sizes == [*[("bob", n) for n in (2, 2, 1)], *[("ada", n) for n in (2, 2, 1)]]
    assert not Session.objects.filter(deleted_at=None).exists()
    # Nobody has a way back.
    assert not Session.objects.filter(deleted_at__gt=now - timedelta(seconds=30)).exists()


def test_each_rule_is_found_by_an_index(make_user: Any) -> None:
    member(make_user, "bob", week=7)
    setting_change(name=DAYS, text="30")
    plans = []
    with connection.cursor() as cursor:
        for rule in rules(now=timezone.now()):
            sql, params = rule.due[: retention.BATCH].query.sql_with_params()
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
            plans.append("\n".join(row[3] for row in cursor.fetchall()))
    of_group, of_site = plans
    assert "SCAN chat_session" not in of_group + of_site
    assert "chat_session USING INDEX session_by_owner (owner_id=? AND updated_at<?)" in of_group
    assert "chat_session USING INDEX session_by_age (updated_at<?)" in of_site


def test_the_command_counts_first_and_then_deletes(make_user: Any) -> None:
    ada, bob = make_user("ada"), member(make_user, "bob", week=7)
    old(ada, 31), old(ada, 29), old(bob, 31), old(bob, 8), old(bob, 6)
    setting_change(name=DAYS, text="30")
    assert output("--dry-run").splitlines() == [
        "7 days (week): 2 sessions",
        "30 days (everybody in no such group): 1 sessions",
        "3 sessions would be deleted.",
    ]
    assert Session.objects.count() == 5
    assert "Deleted 3 sessions." in output()
    assert set(Session.objects.values_list("title", flat=True)) == {"29 days", "6 days"}
    assert AuditEntry.objects.filter(action="retention.expire", actor=audit.NOBODY).count() == 2


def output(*arguments: str) -> str:
    out = io.StringIO()
    call_command("retention", *arguments, stdout=out)
    return out.getvalue()


def test_a_person_is_told_how_long_it_is(make_user: Any, settings: Any) -> None:
    settings.TINYLLM_LOCAL = settings.SECURE_SSL_REDIRECT = False
    told = {}
    for user in (make_user("ada"), member(make_user, "bob", week=7)):
        client = Client()
        client.force_login(user)
        told[user.username] = client.get("/my-data/").content.decode()
    assert "Until you delete them." in told["ada"]
    assert "7 days after the last message" in told["bob"]
    assert "for the group week" in told["bob"]


def test_what_a_group_s_members_keep_is_audited(make_user: Any) -> None:
    group = Group.objects.create(name="lab")
    row = Retention.objects.create(group=group, days=30)
    row.days = 7
    row.save()
    row.delete()
    entries = AuditEntry.objects.filter(action__startswith="retention").order_by("id")
    assert [(e.action, e.target, e.before, e.after) for e in entries] == [
        ("retention.add", "lab", None, {"group": "lab", "days": 30}),
        ("retention.change", "lab", {"days": 30}, {"days": 7}),
        ("retention.delete", "lab", {"group": "lab", "days": 7}, None),
    ]


async def test_a_locked_database_puts_it_off(
    site: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    def locked(**_: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(retention, "sessions_expire", locked)
    await sweep()
    with pytest.raises(OperationalError):
        await enforce(by=audit.NOBODY)
    assert await sync_to_async(AuditEntry.objects.count)() == 0
