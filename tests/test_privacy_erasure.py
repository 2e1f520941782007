"""A person who is erased is in no row, and in no byte of any file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.backends.signals import connection_created
from django.test import Client

from chat import engine
from chat.accounts.tokens import Scope, token_create, token_revoke
from chat.audit import ERASED
from chat.database import in_database
from chat.generation import turns
from chat.identity import local_user
from chat.models import AuditEntry, Message, Quota, Session, Usage, User
from chat.privacy.break_glass import break_glass
from chat.privacy.erasure import Erased, PersonNotFound, erase_person
from tests.chat_client import Page
from tests.fake_engine import FakeEngine
from tests.kept_engine import files_of, started
from tests.process_engine import tiny_store
from tests.threaded_engine import until

pytestmark = pytest.mark.fake_engine

SECRET = "zqxjkvbw"
CHINESE = "龘靐齉爩"
TERM = CHINESE[:3].encode()[1:]
"""As the search index has it: the term in front of it begins with the same byte."""


def files_with(folder: Path, words: list[str]) -> list[str]:
    """Names of the files that hold one of the words in any of the ways that Python, SQLite or an
    engine might write it."""
    forms = [word.encode(code) for word in words for code in ("utf-8", "utf-16-le")]
    forms += [word.encode("ascii", "backslashreplace") for word in words if not word.isascii()]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(form in path.read_bytes() for form in forms)]


def index_blocks() -> bytes:
    """What the search index is made of. It keeps its terms, three characters each, as they are,
    less what one has in common with the one before."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT block FROM chat_search_data")
        return b"".join(block for (block,) in cursor.fetchall())


@pytest.fixture(autouse=True)
def careless(transactional_db: None) -> Iterator[None]:
    """Debian's SQLite overwrites what is deleted by itself; elsewhere none does."""

    def forgetful(connection: Any, **_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA secure_delete = OFF")

    connection.close()
    connection_created.connect(forgetful)
    yield
    connection_created.disconnect(forgetful)
    connection.close()


def database_folder() -> Path:
    return Path(str(connection.settings_dict["NAME"])).parent


async def talked(text: str) -> dict[str, Any]:
    async with Page() as page:
        await page.submit(text)
        return await page.until("message.end")


async def test_nothing_of_a_person_is_left_in_a_byte_of_the_database(site: FakeEngine) -> None:
    """And nothing of another person is lost. The words are in the text, the answer, the title, the
    event log, the search index and the prompt's rows before."""
    folder = database_folder()
    await talked(f"My secret is {SECRET} and {CHINESE}, " * 40)
    mine = await in_database(local_user)
    other = await in_database(lambda: User.objects.create_user("other", first_name="Kept"))
    assert files_with(folder, [SECRET, CHINESE])
    assert TERM in await in_database(index_blocks)
    erased = await erase_person(user_id=mine.id)
    assert erased == Erased(1, 2, is_scrubbed=True)
    assert files_with(folder, [SECRET, CHINESE]) == []
    assert TERM not in await in_database(index_blocks)
    assert await in_database(lambda: list(User.objects.all())) == [other]
    assert files_with(folder, ["Kept"])


async def test_an_answer_that_is_being_written_is_ended_first(site: FakeEngine) -> None:
    site.script = lambda request: [f"{SECRET} ", asyncio.Event()]
    async with Page() as page:
        await page.submit("Go")
        told = await page.until("message.delta")
        user = await in_database(local_user)
        await erase_person(user_id=user.id)
        assert (await page.until("message.end"))["status"] == "STOPPED"
        # whoever reads on hears that it is gone
        assert (await page.until_error())["code"] == "session_not_found"
    assert turns().generation_ids() == []
    assert site.cancelled == [site.requests[0].request_id]
    assert await in_database(Message.objects.count) == 0
    assert told["session_id"]
    assert files_with(database_folder(), [SECRET]) == []


async def test_what_was_computed_is_removed_from_the_disk(site: FakeEngine, tmp_path: Path) -> None:
    folder = tmp_path / "kv"
    async with started(tiny_store(tmp_path / "models"), folder, kv_idle_s=0.01) as its:
        engine.install(its)
        async with Page() as page:
            await page.submit("Tell me of three bears", model="tiny", sampling={"max_tokens": 40})
            await page.until("message.end")
        await until(lambda: bool(files_of(folder)))
        user = await in_database(local_user)
        await erase_person(user_id=user.id)
        assert files_of(folder) == []


async def test_an_unknown_person_is_said_so(site: FakeEngine) -> None:
    unknown = User(username="nobody")
    with pytest.raises(PersonNotFound):
        await erase_person(user_id=unknown.id)


def test_the_command_asks_once_and_erases(
    make_user: Callable[..., User], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    make_user("ada", first_name=SECRET)
    monkeypatch.setattr("builtins.input", lambda question: "ad")
    with pytest.raises(CommandError, match=r"Nothing was erased\."):
        call_command("erase_user", "ada")
    assert User.objects.count() == 1
    monkeypatch.setattr("builtins.input", lambda question: "ada")
    call_command("erase_user", "ada")
    assert "Erased ada: 0 sessions" in capsys.readouterr().out
    assert User.objects.count() == 0
    assert files_with(database_folder(), [SECRET]) == []
    with pytest.raises(CommandError, match="'ada'"):
        call_command("erase_user", "ada", "--yes")


def test_the_audit_log_keeps_what_was_done_and_no_name(make_user: Callable[..., User]) -> None:
    """Neither on what was theirs: tokens, a quota, a conversation that somebody else opened."""
    owner = make_user(SECRET, email=f"{SECRET}@example.org")
    token, _text = token_create(owner=owner, name=f"{SECRET}'s", scopes=[Scope.READ])
    token_revoke(owner=owner, token_id=token.pk)
    quota = Quota.objects.create(user=owner, tokens_per_day=1)
    quota.tokens_per_day = 2
    quota.save()
    session = Session.objects.create(owner=owner, model="chat")
    reason = f"What {SECRET} wrote"
    break_glass(reader=make_user("helper"), session_id=session.pk, reason=reason)
    other, _text = token_create(owner=make_user("ada"), name="kept", scopes=[Scope.READ])
    call_command("erase_user", SECRET, "--yes")
    entries = AuditEntry.objects.all()
    assert {entry.action for entry in entries} >= {
        "user.add", "user.delete", "apitoken.add", "apitoken.change", "apitoken.delete",
        "quota.change", "session.break_glass",
    }  # fmt: skip
    assert entries.get(action="session.break_glass").actor == "helper"
    assert (entries.get(target_id=str(other.pk)).after or {})["name"] == "kept"
    told = str(list(entries.values()))
    assert ERASED in told
    assert SECRET not in told


@pytest.mark.parametrize("way", ["page", "list"])
def test_the_admin_erases_too(
    make_user: Callable[..., User], client: Client, fake_engine: FakeEngine, way: str
) -> None:
    """Before it, it says how much that is; after it, its own log has no name either."""
    client.force_login(make_user("boss", is_staff=True, is_superuser=True))
    ada = make_user(SECRET, email=f"{SECRET}@example.org")
    session = Session.objects.create(owner=ada, model="chat", title=SECRET)
    Message.objects.create(session=session, role="user", content=CHINESE)
    Usage.objects.create(user=ada, day=date(2026, 1, 1), turns=1, prompt_tokens=1, output_tokens=1)
    client.post(f"/admin/chat/user/{ada.pk}/change/", {"username": SECRET, "email": ""})
    chosen = {"action": "delete_selected", "_selected_action": [str(ada.pk)]}
    path = "/admin/chat/user/" if way == "list" else f"/admin/chat/user/{ada.pk}/delete/"
    asked = client.post(path, chosen) if way == "list" else client.get(path)
    assert [(str(name), count) for name, count in asked.context["model_count"]] == [
        ("users", 1),
        ("sessions", 1),
        ("messages", 1),
        ("files", 0),
    ]
    assert CHINESE not in asked.content.decode()
    said = client.post(path, {**(chosen if way == "list" else {}), "post": "yes"}, follow=True)
    assert "uccessfully" in said.content.decode()
    assert User.objects.get().username == "boss"
    assert SECRET not in str(list(LogEntry.objects.values()))
    AuditEntry.objects.get(action="user.delete", actor="boss")
    assert files_with(database_folder(), [SECRET, CHINESE]) == []


def test_scrubbing_alone_cleans_what_was_deleted_before(make_user: Callable[..., User]) -> None:
    make_user("ada", first_name=SECRET).delete()
    assert files_with(database_folder(), [SECRET])
    call_command("scrub")
    assert files_with(database_folder(), [SECRET]) == []
