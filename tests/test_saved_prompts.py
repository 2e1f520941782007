"""Prompts that are kept: a person's own on their page, the site's in the admin, both in the list
that `/` opens, and what they were before."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from chat.models import AuditEntry, SavedPrompt, SavedPromptVersion, User
from chat.saved_prompts import store
from chat.saved_prompts.store import prompt_keep

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.fake_engine,
    pytest.mark.usefixtures("with_accounts"),
]


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def staff(make_user: Any) -> Client:
    return client_of(make_user("boss", is_staff=True, is_superuser=True))


def kept(owner: User | None, name: str, text: str = "Say it") -> SavedPrompt:
    made = SavedPrompt(owner=owner, name=name, text=text)
    prompt_keep(made)
    return made


def versions(prompt: SavedPrompt) -> list[tuple[int, str, str]]:
    rows = SavedPromptVersion.objects.filter(prompt=prompt)
    return list(rows.values_list("number", "name", "text"))


def test_one_is_made_changed_given_back_and_deleted(ada: User) -> None:
    client = client_of(ada)
    made = client.post("/prompts/", {"name": " Short\n and  plain ", "text": "Say it:\r\n1."})
    assert made.status_code == 302
    prompt = SavedPrompt.objects.get()
    assert (prompt.owner, prompt.name, prompt.text) == (ada, "Short and plain", "Say it:\n1.")
    path = f"/prompts/{prompt.pk}/"
    assert "Short and plain" in client.get("/prompts/").content.decode()
    assert "versions/1/restore" not in client.get(path).content.decode()
    changed = {"name": "Short", "text": "In one word"}
    for _ in range(2):  # the second time nothing is another
        assert client.post(path, changed).status_code == 302
    both = [(2, "Short", "In one word"), (1, "Short and plain", "Say it:\n1.")]
    assert versions(prompt) == both
    page = client.get(path).content.decode()
    assert "Say it:\n1." in page
    assert "versions/2/restore" not in page
    assert client.post(f"{path}versions/1/restore/").status_code == 302
    assert versions(prompt) == [(3, *both[1][1:]), *both]
    assert client.post(f"{path}versions/9/restore/").status_code == 404
    assert client.get(f"{path}delete/").status_code == 405
    assert client.post(f"{path}delete/").status_code == 302
    assert not SavedPrompt.objects.exists()
    assert not SavedPromptVersion.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": " \n", "text": "x"},
        {"name": "x" * 81, "text": "x"},
        {"name": "x", "text": " "},
        {"name": "x", "text": "x" * 20_001},
        {"name": "x", "text": "\0"},
    ],
)
def test_what_cannot_be_kept_is_said_and_what_was_typed_stays(
    ada: User, wrong: dict[str, str]
) -> None:
    answer = client_of(ada).post("/prompts/", wrong)
    assert answer.status_code == 200
    html = answer.content.decode()
    assert 'class="errorlist"' in html
    assert wrong["text"].strip("\0 ") in html
    assert not SavedPrompt.objects.exists()


def test_nobody_has_more_than_so_many(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST", 1)
    kept(ada, "One")
    client = client_of(ada)
    assert "and no more" in client.post("/prompts/", {"name": "Two", "text": "x"}).content.decode()
    changed = client.post(f"/prompts/{SavedPrompt.objects.get().pk}/", {"name": "A", "text": "x"})
    assert changed.status_code == 302


def test_the_oldest_version_goes_when_there_are_many(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "KEPT", 2)
    prompt = kept(ada, "One", "1")
    for text in "23":
        prompt.text = text
        prompt_keep(prompt)
    assert versions(prompt) == [(3, "One", "3"), (2, "One", "2")]


@pytest.mark.django_db(transaction=True)
def test_a_person_is_offered_their_own_and_the_site_s(ada: User, make_user: Any) -> None:
    kept(ada, "b", "mine")
    kept(make_user("eve"), "Secret")
    kept(None, "A", "everybody's")
    client = client_of(ada)
    told = client.get("/api/prompts").json()
    assert [(row["name"], row["text"], row["shared"]) for row in told] == [
        ("A", "everybody's", True),
        ("b", "mine", False),
    ]
    assert "everybody" not in client.get("/prompts/").content.decode()
    assert Client().get("/api/prompts").status_code == 401


def test_nobody_opens_another_s_or_changes_the_site_s(ada: User, make_user: Any) -> None:
    client = client_of(ada)
    for prompt in (kept(make_user("eve"), "Secret"), kept(None, "A")):
        path = f"/prompts/{prompt.pk}/"
        assert client.get(path).status_code == 404
        for address in (path, f"{path}delete/", f"{path}versions/1/restore/"):
            assert client.post(address, {"name": "Mine", "text": "x"}).status_code == 404
    assert sorted(row.name for row in SavedPrompt.objects.all()) == ["A", "Secret"]


ADMIN = "/admin/chat/savedprompt/"
NO_ROWS = {"versions-TOTAL_FORMS": 0, "versions-INITIAL_FORMS": 0}


def test_the_admin_keeps_the_site_s_with_their_versions(staff: Client) -> None:
    made = staff.post(f"{ADMIN}add/", {"name": "Sum up", "text": "In short:", **NO_ROWS})
    assert made.status_code == 302
    prompt = SavedPrompt.objects.get()
    assert prompt.owner is None
    path = f"{ADMIN}{prompt.pk}/change/"
    changed = {"name": "Sum up", "text": "In a line:", **NO_ROWS}
    assert staff.post(path, changed).status_code == 302
    page = staff.get(path).content.decode()
    assert "In short:" in page
    assert "In a line:" in page
    assert staff.post(path, {**changed, "restore": "1"}).status_code == 302
    assert versions(prompt) == [
        (3, "Sum up", "In short:"),
        (2, "Sum up", "In a line:"),
        (1, "Sum up", "In short:"),
    ]
    assert staff.post(path, {**changed, "restore": "7"}).status_code == 200, "there is none"
    assert "Sum up" in staff.get(ADMIN).content.decode()
    logged = AuditEntry.objects.filter(target_type="savedprompt").values_list("action", flat=True)
    assert list(logged) == ["admin.change", "admin.change", "admin.add"]
    assert "short" not in str(AuditEntry.objects.values())


def test_the_admin_has_nothing_of_what_people_keep(staff: Client, ada: User) -> None:
    prompt = kept(ada, "Secret", "Secret")
    assert "Secret" not in staff.get(ADMIN).content.decode()
    assert str(prompt.pk) not in staff.get(ADMIN).content.decode()
    for address in ("change", "delete", "history"):
        answer = staff.get(f"{ADMIN}{prompt.pk}/{address}/", follow=True)
        assert "Secret" not in answer.content.decode()
    for lookup in ("name__contains", "versions__text__contains", "owner__username"):
        assert staff.get(ADMIN, {lookup: "x"}).status_code == 400
    chosen = {"action": "delete_selected", "_selected_action": [str(prompt.pk)], "post": "yes"}
    staff.post(ADMIN, chosen)
    assert SavedPrompt.objects.exists()


def test_only_staff_with_the_right_changes_the_site_s(make_user: Any) -> None:
    kept(None, "A")
    client = client_of(make_user("helper", is_staff=True))
    for address in ("", "add/", f"{SavedPrompt.objects.get().pk}/change/"):
        assert client.get(ADMIN + address).status_code == 403
