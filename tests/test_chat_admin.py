"""The admin: what it lists and finds, what it refuses, that no text is in any of it, and that its
queries do not grow."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chat.models import AuditEntry, Feedback, File, Folder, Generation, Message, Session, User
from chat.packing import pack
from chat.session_settings.presets import preset_create

pytestmark = pytest.mark.django_db

LISTS = ["user", "session", "message", "feedback", "generation"]
OPERATORS_LISTS = ["usage", "quota", "retention", "auditentry"]
MODELS = {"session": Session, "message": Message, "feedback": Feedback, "generation": Generation}


def fill(owner: User, count: int) -> None:
    for number in range(count):
        session = Session.objects.create(owner=owner, title=f"Title {number}", model="chat")
        said = Message.objects.create(session=session, role="user", content=f"Question {number}")
        answer = Message.objects.create(
            session=session, parent=said, role="assistant", content=f"Answer {number}"
        )
        Feedback.objects.create(message=answer, owner=owner, value=1)
        Generation.objects.create(
            session=session,
            message=answer,
            status="DONE",
            model="chat",
            prompt_ids=pack([1, 2]),
            output_ids=pack([3, 4, 5]),
            request_id=f"request-{number}",
        )


@pytest.fixture
def staff(make_user: Any) -> Client:
    client = Client()
    client.force_login(make_user("boss", is_staff=True, is_superuser=True))
    return client


def queries(client: Client, path: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(path).status_code == 200
    return len(captured)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_costs_the_same_for_one_row_and_for_forty(
    staff: Client, make_user: Any, name: str
) -> None:
    path = f"/admin/chat/{name}/"
    fill(make_user("ada"), 1)
    few = queries(staff, path)
    for number in range(5):
        fill(make_user(f"user{number}"), 8)
    assert queries(staff, path) == few
    assert few <= 9


@pytest.mark.parametrize("name", LISTS[1:])
def test_a_row_is_shown_and_cannot_be_changed(staff: Client, make_user: Any, name: str) -> None:
    fill(make_user("ada"), 1)
    model: Any = MODELS[name]
    row = model.objects.first()
    assert row is not None
    path = f"/admin/chat/{name}/{row.pk}/change/"
    assert staff.get(path).status_code == 200
    assert staff.post(path, {"title": "changed"}).status_code == 403
    assert staff.get(f"/admin/chat/{name}/add/").status_code == 403


def test_a_generation_shows_what_computed_it_and_how(staff: Client, make_user: Any) -> None:
    fill(make_user("ada"), 1)
    Generation.objects.update(engine={"device": "cuda", "dtype": "float16"})
    row = Generation.objects.get()
    path = f"/admin/chat/generation/{row.pk}/change/"
    page = staff.get(path).content.decode()
    assert "Deterministic" in page
    assert "float16" in page
    assert "确定性" in staff.get(path, headers={"accept-language": "zh-hans"}).content.decode()


@pytest.mark.parametrize(
    ("name", "query", "found"),
    [
        ("session", "ada", 5),
        ("session", "Title 3", 0),
        ("session", "Answer 2", 0),
        ("message", "ada", 10),
        ("message", "Question 4", 0),
        ("feedback", "ada", 5),
        ("generation", "request-1", 1),
        ("generation", "Title", 0),
        ("user", "ada", 1),
        ("session", "nothing", 0),
    ],
)
def test_search_finds(staff: Client, make_user: Any, name: str, query: str, found: int) -> None:
    fill(make_user("ada"), 5)
    answer = staff.get(f"/admin/chat/{name}/", {"q": query})
    assert answer.context["cl"].result_count == found


def test_counts_are_shown(staff: Client, make_user: Any) -> None:
    fill(make_user("ada"), 3)
    rows = staff.get("/admin/chat/session/").context["cl"].result_list
    assert [row.message_count for row in rows] == [2, 2, 2]
    (user,) = staff.get("/admin/chat/user/", {"q": "ada"}).context["cl"].result_list
    assert user.session_count == 3


def test_filters_narrow_a_list(staff: Client, make_user: Any) -> None:
    fill(make_user("ada"), 2)
    Generation.objects.filter(request_id="request-0").update(status="FAILED")
    answer = staff.get("/admin/chat/generation/", {"status__exact": "FAILED"})
    assert [row.request_id for row in answer.context["cl"].result_list] == ["request-0"]


@pytest.mark.parametrize("name", LISTS[1:])
def test_export_is_json_without_the_words(staff: Client, make_user: Any, name: str) -> None:
    fill(make_user("ada"), 3)
    model: Any = MODELS[name]
    chosen = [str(pk) for pk in model.objects.values_list("pk", flat=True)]
    answer: Any = staff.post(
        f"/admin/chat/{name}/", {"action": "export_json", "_selected_action": chosen}
    )
    assert answer["content-disposition"] == f'attachment; filename="{name}s.json"'
    rows = json.loads(b"".join(answer.streaming_content))
    exported = AuditEntry.objects.get(action=f"{name}.export")
    assert (exported.actor, exported.after) == ("boss", {"rows": len(chosen)})
    assert sorted(str(row["id"]) for row in rows) == sorted(chosen)
    if name == "generation":
        assert rows[0]["model"] == "chat"
    assert not {"title", "content", "comment", "prompt_ids", "output_ids"} & rows[0].keys()


def test_export_takes_memory_for_one_row_at_a_time(staff: Client, make_user: Any) -> None:
    fill(make_user("ada"), 3)
    from chat.textless_admin import json_array

    pieces = json_array(Session.objects.all(), without=("title",))
    first = next(pieces)
    assert ('"model": "chat"' in first, "Title" in first) == (True, False)
    assert "".join(json_array(Session.objects.none(), without=())) == "[]\n"


SECRET = "Zanzibar"
"""In every text below."""
SUMMED = {"messages": 1, "prompt_tokens": 1, "output_tokens": 1, "cached_tokens": 0}


@pytest.fixture
def secrets(make_user: Any) -> dict[str, Any]:
    """A row of each kind, with a text."""
    ada = make_user("ada")
    folder = Folder.objects.create(owner=ada, name=SECRET)
    session = Session.objects.create(
        owner=ada, title=SECRET, model="chat", folder=folder, settings={"system_prompt": SECRET}
    )
    message = Message.objects.create(session=session, role="assistant", content=SECRET)
    message.summaries.create(session=session, text=SECRET, model="chat", **SUMMED)
    numbers = {"characters": 1, "tokens": 1, "size": 1, "text_size": 1, "model": "chat"}
    return {
        "user": ada,
        "session": session,
        "message": message,
        "feedback": Feedback.objects.create(message=message, owner=ada, value=1, comment=SECRET),
        "preset": preset_create(owner_id=ada.pk, name=SECRET, settings={"system_prompt": SECRET}),
        "file": File.objects.create(owner=ada, name=SECRET, kind="plain", text=SECRET, **numbers),
        "generation": Generation.objects.create(
            session=session,
            message=message,
            status="FAILED",
            model="chat",
            sampling={"stop": [SECRET], "temperature": 0.5},
            context={"system_prompt": SECRET},
            error={"code": "content_filter", "message": SECRET},
            output_ids=pack(list(SECRET.encode())),
        ),
    }


@pytest.mark.django_db(transaction=True)  # a person is erased, which takes other connections
@pytest.mark.parametrize("name", [*LISTS, "file", "preset"])
def test_no_page_of_the_admin_has_a_text(staff: Client, secrets: dict[str, Any], name: str) -> None:
    """A superuser's, who may do everything else."""
    path, pk = f"/admin/chat/{name}/", secrets[name].pk
    for address in ("", f"{pk}/change/", f"{pk}/delete/", f"{pk}/history/"):
        answer = staff.get(path + address)
        assert answer.status_code == 200, address
        assert SECRET not in answer.content.decode(), address
        assert " ".join(map(str, SECRET.encode())) not in answer.content.decode(), address
    export: Any = staff.post(path, {"action": "export_json", "_selected_action": [pk]})
    if name != "user":
        assert SECRET not in b"".join(export.streaming_content).decode()
    asked = {"app_label": "chat", "model_name": "message", "field_name": "session", "term": ""}
    assert SECRET not in staff.get("/admin/autocomplete/", asked).content.decode()
    staff.post(path, {"action": "delete_selected", "_selected_action": [pk], "post": "yes"})
    assert not type(secrets[name])._default_manager.filter(pk=pk).exists()
    assert SECRET not in staff.get("/admin/").content.decode()
    assert not LogEntry.objects.filter(object_repr__contains=SECRET).exists()


@pytest.mark.parametrize(
    ("name", "lookup"),
    [
        ("session", "title__startswith"),
        ("session", "settings__system_prompt__startswith"),
        ("session", "messages__content__contains"),
        ("message", "content__contains"),
        ("message", "session__title__contains"),
        ("feedback", "comment__contains"),
        ("file", "text__contains"),
        ("file", "name__contains"),
        ("generation", "context__system_prompt__contains"),
        ("generation", "message__content__contains"),
        ("preset", "settings__system_prompt__contains"),
        ("preset", "versions__settings__contains"),
        ("user", "sessions__title__contains"),
    ],
)
def test_no_list_answers_whether_a_text_is_there(
    staff: Client, secrets: dict[str, Any], name: str, lookup: str
) -> None:
    """By an address that filters by it."""
    for text in (SECRET, "nothing"):
        assert staff.get(f"/admin/chat/{name}/", {lookup: text}).status_code == 400


def test_bulk_delete_takes_everything_below(staff: Client, make_user: Any) -> None:
    fill(make_user("ada"), 3)
    chosen = [str(pk) for pk in Session.objects.values_list("pk", flat=True)[:2]]
    answer = staff.post(
        "/admin/chat/session/",
        {"action": "delete_selected", "_selected_action": chosen, "post": "yes"},
    )
    assert answer.status_code == 302
    counts = [model.objects.count() for model in (Session, Message, Generation)]
    assert counts == [1, 2, 1]


def test_autocomplete_answers(staff: Client, make_user: Any) -> None:
    fill(make_user("ada"), 2)
    answer = staff.get(
        "/admin/autocomplete/",
        {"app_label": "chat", "model_name": "message", "field_name": "session", "term": "ada"},
    )
    assert len(answer.json()["results"]) == 2


@pytest.mark.parametrize("name", [*LISTS, *OPERATORS_LISTS])
def test_only_staff_with_the_right_may_look(make_user: Any, name: str) -> None:
    path = f"/admin/chat/{name}/"
    client = Client()
    assert client.get(path).status_code == 302
    client.force_login(make_user("ada"))
    assert client.get(path).status_code == 302
    helper = make_user("helper", is_staff=True)
    client.force_login(helper)
    assert client.get(path).status_code == 403
    helper.user_permissions.add(
        Permission.objects.get(codename=f"view_{name}", content_type__app_label="chat")
    )
    assert client.get(path).status_code == 200
