"""The pages as the server renders them: whose they are, what they cost, what they refuse."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chat import engine, identity
from chat.models import Generation, Message, Session, User
from chat.setup import setup_token_create
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db, pytest.mark.fake_engine]
ROOT = Path(__file__).resolve().parent.parent
HOSTILE = "</script><script>alert(1)</script><b>"


@pytest.fixture
def page(fake_engine: FakeEngine) -> Client:
    return Client(headers={"host": "localhost"})


def make_session(
    owner: User, *answers: str, model: str = "chat", title: str = "A title"
) -> Session:
    session = Session.objects.create(owner=owner, model=model, title=title)
    parent = None
    for answer in answers:
        question = Message.objects.create(
            session=session, role="user", content=f"Tell me {HOSTILE}", parent=parent
        )
        parent = Message.objects.create(
            session=session, role="assistant", content=answer, parent=question
        )
        Generation.objects.create(
            session=session,
            message=parent,
            model=model,
            status="STOPPED",
            finish_reason="cancelled",
            seed=7,
            output_tokens=12,
            owner="test",
            request_id="test",
        )
    return session


def state_of(html: str) -> Any:
    found = re.search(r'<script id="page-state" type="application/json">(.*?)</script>', html)
    assert found
    return json.loads(found[1])


def test_the_first_page_offers_the_models_that_can_be_used(page: Client) -> None:
    html = page.get("/").content.decode()
    assert re.findall(r'name="model" value="(\w+)"', html) == ["chat", "story"]
    assert state_of(html)["session"] is None


def test_a_session_arrives_rendered_with_its_exact_text_beside(page: Client) -> None:
    text = f"**bold**\r\n\n```python\nx = 1\n```\n{HOSTILE}"
    session = make_session(identity.local_user(), text)
    html = page.get(f"/sessions/{session.id}/").content.decode()
    assert "<strong>bold</strong>" in html
    assert '<span class="mi">1</span>' in html
    assert "<script>alert" not in html
    message = state_of(html)["messages"][1]
    assert message["text"] == text
    assert (message["status"], message["seed"], message["can_continue"]) == ("STOPPED", 7, True)


def test_a_story_is_not_markdown(page: Client) -> None:
    session = make_session(identity.local_user(), "* * *\n# not a heading", model="story")
    html = page.get(f"/sessions/{session.id}/").content.decode()
    assert ">* * *\n# not a heading</div>" in html


def test_titles_are_escaped(page: Client) -> None:
    session = make_session(identity.local_user(), title=HOSTILE)
    html = page.get(f"/sessions/{session.id}/").content.decode()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html


def test_the_number_of_queries_does_not_grow(page: Client) -> None:
    owner = identity.local_user()
    short = make_session(owner, "one")
    with CaptureQueriesContext(connection) as few:
        page.get(f"/sessions/{short.id}/")
    long = make_session(owner, *(f"answer {number}" for number in range(20)))
    for number in range(20):
        make_session(owner, title=f"session {number}")
    with CaptureQueriesContext(connection) as many:
        page.get(f"/sessions/{long.id}/")
    assert len(many) == len(few) <= 8, [query["sql"] for query in many]


def test_another_persons_session_is_not_there(page: Client, make_user: Any) -> None:
    session = make_session(make_user("ada"), "secret")
    for address in (session.id, uuid.uuid4()):
        answer = page.get(f"/sessions/{address}/")
        assert answer.status_code == 404
        assert "There is nothing here" in answer.content.decode()
        assert "secret" not in answer.content.decode()
    assert "A title" not in page.get("/").content.decode()


def test_with_accounts_a_stranger_is_sent_to_sign_in(
    page: Client, make_user: Any, settings: Any
) -> None:
    settings.TINYLLM_LOCAL = False
    session = make_session(make_user("ada"), "secret")
    answer = page.get(f"/sessions/{session.id}/", secure=True)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("/account/login/?next=/sessions/")
    page.force_login(session.owner)
    assert page.get(f"/sessions/{session.id}/", secure=True).status_code == 200


def test_old_sessions_can_be_read_without_an_engine() -> None:
    engine.install(None)
    session = make_session(identity.local_user(), "still here")
    answer = Client(headers={"host": "localhost"}).get(f"/sessions/{session.id}/")
    assert "still here" in answer.content.decode()


def test_no_script_or_style_is_inline(page: Client) -> None:
    session = make_session(identity.local_user(), "| a |\n|--:|\n| b |\n\n```c\nint x;\n```")
    for path in ("/", f"/sessions/{session.id}/", "/nothing/", f"/setup/{setup_token_create()}/"):
        html = page.get(path).content.decode()
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html), path
        scripts = re.findall(r"<script([^>]*)>", html)
        assert all("src=" in each or "application/json" in each for each in scripts), path
        assert not re.search(r"(src|href)=\"(https?:)?//", html), path


def test_the_setup_link_makes_one_administrator(page: Client) -> None:
    link = f"/setup/{setup_token_create()}/"
    assert "Make the first administrator" in page.get(link).content.decode()

    weak = page.post(link, {"username": "ada", "password": "12345"}).content.decode()
    assert "too short" in weak
    assert not User.objects.filter(username="ada").exists()

    made = page.post(link, {"username": "ada", "password": "correct horse battery"})
    assert made.headers["location"] == "/admin/"
    assert User.objects.get(username="ada").is_superuser
    for again in (page.get(link), page.post(link, {"username": "eve", "password": "x" * 20})):
        assert again.status_code == 404
        assert "no longer works" in again.content.decode()
    assert not User.objects.filter(username="eve").exists()


def test_the_setup_form_is_guarded_against_forgery() -> None:
    link = f"/setup/{setup_token_create()}/"
    strict = Client(headers={"host": "localhost"}, enforce_csrf_checks=True)
    answer = strict.post(link, {"username": "eve", "password": "correct horse battery"})
    assert answer.status_code == 403


def test_the_list_of_shortcuts_has_each_of_them(page: Client) -> None:
    """Those that `shortcuts.js` listens for, by the keys that it names."""
    source = (ROOT / "static/chat/shortcuts.js").read_text()
    tables = re.findall(r"return \{ (.+?) \}\[key\]", source)
    keys = [[entry.split(":")[0].strip('" ') for entry in table.split(", ")] for table in tables]
    listed = re.findall(r"<dt>(.*?)</dt>", page.get("/").content.decode())
    shown = {tuple(re.findall(r"<kbd>(.*?)</kbd>", entry.lower())) for entry in listed}
    shifted, plain = keys
    assert {("ctrl", "shift", key) for key in shifted} | {("ctrl", key) for key in plain} <= shown
    assert len(shifted) + len(plain) > 6
