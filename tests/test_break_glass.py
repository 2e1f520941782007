"""Reading a conversation of somebody else: who may, after what, for how long, and who learns it."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from chat.errors import InvalidRequest
from chat.models import AuditEntry, BreakGlass, File, Message, MessageFile, Session, User
from chat.privacy import break_glass as glass
from chat.privacy.own_data import owned_tables

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.fake_engine,
    pytest.mark.usefixtures("with_accounts"),
]

WHY = "Abuse report 17 names it"
PEOPLE = ("anonymous", "owner", "other", "staff", "helper", "superuser")


@pytest.fixture
def people(make_user: Any) -> dict[str, User]:
    """The helper is staff with the right; the staff has every other right."""
    made = {
        name: make_user(name, is_staff=name in PEOPLE[3:], is_superuser=name == "superuser")
        for name in PEOPLE[1:]
    }
    right = Permission.objects.get(codename="break_glass")
    made["staff"].user_permissions.set(Permission.objects.exclude(pk=right.pk))
    made["other"].user_permissions.add(right)  # without being staff
    made["helper"].user_permissions.add(right)
    return made


@pytest.fixture
def session(people: dict[str, User]) -> Session:
    made = Session.objects.create(
        owner=people["owner"], title="Secret title", model="chat",
        settings={"system_prompt": "Secret prompt"},
    )  # fmt: skip
    said = Message.objects.create(session=made, role="user", content="Secret <b>question</b>")
    for text in ("Secret answer", "Secret second answer"):
        Message.objects.create(session=made, parent=said, role="assistant", content=text)
    numbers = {"characters": 1, "tokens": 1, "size": 1, "text_size": 1, "model": "chat"}
    file = File.objects.create(owner=people["owner"], name="secret.txt", kind="plain", **numbers)
    MessageFile.objects.create(message=said, file=file, position=0)
    return made


def client_of(user: User | None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client


def path_of(session: Session) -> str:
    return f"/admin/conversations/{session.pk}/"


@pytest.mark.parametrize("person", PEOPLE)
def test_only_staff_with_the_right_and_a_reason_may(
    people: dict[str, User], session: Session, person: str
) -> None:
    client, path = client_of(people.get(person)), path_of(session)
    may = person in ("helper", "superuser")
    asked = client.get(path)
    refusal = 403 if person == "staff" else 302
    assert asked.status_code == (200 if may else refusal)
    assert "Secret" not in asked.content.decode()
    assert client.post(path, {"reason": WHY}).status_code == 302 if may else refusal
    read = client.get(path)
    assert ("Secret answer" in read.content.decode()) == may
    assert BreakGlass.objects.count() == AuditEntry.objects.filter(
        action="session.break_glass"
    ).count() == (1 if may else 0)  # fmt: skip


def test_all_of_it_is_shown_as_text_and_nothing_can_be_changed(
    people: dict[str, User], session: Session
) -> None:
    client, path = client_of(people["helper"]), path_of(session)
    client.post(path, {"reason": WHY})
    answer = client.get(path)
    html = answer.content.decode()
    for text in ("Secret title", "Secret prompt", "Secret answer", "Secret second answer"):
        assert text in html
    assert "Secret &lt;b&gt;question" in html
    assert "secret.txt" in html
    assert "no-store" in answer["Cache-Control"]
    assert not re.search(r"<form[^>]*ops-reason", html)
    for method in ("put", "patch", "delete"):
        assert getattr(client, method)(path).status_code == 405
    # Another address of it stays closed.
    assert client.get(f"/sessions/{session.pk}/").status_code == 404
    assert client.get(f"/api/sessions/{session.pk}").status_code == 404


def test_a_long_conversation_has_pages(
    people: dict[str, User], session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.operations.conversation_page.MESSAGES", 2)
    client, path = client_of(people["helper"]), path_of(session)
    client.post(path, {"reason": WHY})
    first, second = (client.get(path, {"page": n}).content.decode() for n in (1, 2))
    assert [text in first for text in ("Secret answer", "Secret second")] == [True, False]
    assert [text in second for text in ("Secret answer", "Secret second")] == [False, True]


@pytest.mark.parametrize(
    ("reason", "is_enough"),
    [
        ("", False),
        ("because", False),
        ("? ! . - _", False),
        ("x " * 300, False),
        ("she asked us", True),
        ("用户举报", True),
        ("举报", False),
    ],
)
def test_a_reason_has_words(
    people: dict[str, User], session: Session, reason: str, is_enough: bool
) -> None:
    client, path = client_of(people["helper"]), path_of(session)
    answer = client.post(path, {"reason": reason})
    assert answer.status_code == (302 if is_enough else 400)
    if not is_enough:
        html = answer.content.decode()
        assert "at least 3 words" in html
        assert "Secret" not in html
        assert reason.strip() in html
    assert BreakGlass.objects.exists() == is_enough


def test_a_reason_that_cannot_be_stored_is_refused(
    people: dict[str, User], session: Session
) -> None:
    with pytest.raises(InvalidRequest):
        glass.break_glass(reader=people["helper"], session_id=session.pk, reason="a b c \ud800")


def test_it_ends_with_its_time_with_the_right_and_with_the_conversation(
    people: dict[str, User], session: Session
) -> None:
    helper, path = people["helper"], path_of(session)
    client = client_of(helper)
    client.post(path, {"reason": WHY})
    client.post(path, {"reason": "And once more, please"})
    opened = BreakGlass.objects.get()
    assert opened.reason == WHY
    assert opened.ends_at - opened.opened_at == timedelta(minutes=30)
    # One conversation, one reader.
    other = Session.objects.create(owner=people["owner"], title="Secret other", model="chat")
    assert "Secret" not in client.get(path_of(other)).content.decode()
    assert "Secret" not in client_of(people["superuser"]).get(path).content.decode()

    BreakGlass.objects.update(ends_at=timezone.now())
    over = client.get(path).content.decode()
    assert "Secret" not in over
    assert "ops-reason" in over
    assert client.post(path, {"reason": "It goes on still"}).status_code == 302
    assert "Secret answer" in client.get(path).content.decode()

    helper.user_permissions.clear()
    assert client.get(path).status_code == 403
    helper.user_permissions.add(Permission.objects.get(codename="break_glass"))
    session.deleted_at = timezone.now()
    session.save()
    assert client.get(path).status_code == 404
    assert client.get(f"/admin/conversations/{uuid.uuid4()}/").status_code == 404


def test_the_audit_log_says_who_whose_which_why_and_until_when(
    people: dict[str, User], session: Session
) -> None:
    client_of(people["helper"]).post(path_of(session), {"reason": f"  {WHY}\n"})
    entry, opened = AuditEntry.objects.get(action="session.break_glass"), BreakGlass.objects.get()
    assert (entry.actor, entry.actor_id) == ("helper", people["helper"].pk)
    assert (entry.target_type, entry.target_id) == ("session", str(session.pk))
    assert entry.after == {
        "owner": "owner",
        "reason": WHY,
        "until": opened.ends_at.isoformat(timespec="seconds"),
    }
    assert "Secret" not in str(AuditEntry.objects.values())


def test_its_owner_sees_who_and_why_and_nobody_else_does(
    people: dict[str, User], session: Session
) -> None:
    owner = client_of(people["owner"])
    page = f"/sessions/{session.pk}/"
    assert 'id="opened"' not in owner.get(page).content.decode()
    assert "Nobody has." in owner.get("/my-data/").content.decode()
    client_of(people["helper"]).post(path_of(session), {"reason": WHY})

    notice = owner.get(page).content.decode()
    assert 'id="opened"' in notice
    assert WHY in notice
    listed = owner.get("/my-data/").content.decode()
    assert all(each in listed for each in ("helper", WHY, "Secret title", page))
    assert WHY not in client_of(people["other"]).get("/my-data/").content.decode()
    assert owned_tables()[BreakGlass] == "owner"  # so it is in the archive too

    session.delete()
    assert WHY in owner.get("/my-data/").content.decode()
    people["helper"].delete()
    gone = owner.get("/my-data/").content.decode()
    assert WHY in gone
    assert "Somebody whose account is gone" in gone
    assert "a conversation that is gone" in gone


def test_the_admin_leads_to_it_whoever_has_the_right(
    people: dict[str, User], session: Session
) -> None:
    path = f"/admin/chat/session/{session.pk}/change/"
    view = Permission.objects.get(codename="view_session", content_type__app_label="chat")
    people["helper"].user_permissions.add(view)
    led = [
        path_of(session) in client_of(people[name]).get(path).content.decode()
        for name in ("superuser", "helper", "staff")
    ]
    assert led == [True, True, False]
