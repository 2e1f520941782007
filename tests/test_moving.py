"""Everything of a site into a real PostgreSQL and back: the same rows, in one that works."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from chat.models import Event, Generation, Message, Quota, SearchText, Session, Usage, User
from chat.moving import Moved, MoveError, in_order, move_rows, summed
from chat.packing import pack
from tests.postgres import create, postgres
from tinyllm_site import env

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def many_databases(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Django's own guard knows the databases of the settings only; these come and go."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Any]:
    """`other(url)`: the alias of another database, with all migrations."""
    made: list[str] = []

    def connect(url: str) -> str:
        alias = f"other{len(made)}"
        settings = {**connections.databases["default"], "OPTIONS": {}, **env.database_at(url)}
        connections.databases[alias] = settings
        made.append(alias)
        call_command("migrate", database=alias, verbosity=0)
        return alias

    yield connect
    for alias in made:
        connections[alias].close()
        del connections[alias], connections.databases[alias]


@pytest.fixture
def filled(tmp_path: Path, settings: Any, many_databases: None) -> Iterator[User]:
    """A little of everything."""
    settings.TINYLLM_DATA_DIR = tmp_path
    call_command("flush", interactive=False, verbosity=0)
    ada = User.objects.create_user("ada", "ada@example.org", "correct horse")
    group = Group.objects.create(name="实验室")
    ada.groups.add(group)
    ada.user_permissions.add(Permission.objects.get(codename="view_engine"))
    Quota.objects.create(group=group, tokens_per_day=5)
    Usage.objects.create(user=ada, day=timezone.now().date(), turns=1, output_tokens=9)
    kind = ContentType.objects.get_for_model(User)
    LogEntry.objects.create(user=ada, content_type=kind, object_id="x", action_flag=1)
    for number in range(30):
        session = Session.objects.create(owner=ada, title=f"标题 {number}", model="chat")
        parent = None
        for text in ("Question 😀", "Answer\twith 'quotes' and \\ and \u2028"):
            parent = Message.objects.create(
                session=session, parent=parent, role="user", content=text,
                created_at=timezone.now() - timedelta(days=number, microseconds=number),
            )  # fmt: skip
        assert parent is not None
        generation = Generation.objects.create(
            session=session, message=parent, status="DONE", model="chat", prompt_ids=pack([1, 2]),
            sampling={"temperature": 0.2, "stop": [], "b": 1e-9, "a": None}, seed=2**63 - 1,
            timings={"queue_s": 0.000123},
        )  # fmt: skip
        SearchText.objects.create(session=session, message=parent, text="Answer")
        for seq in range(40):
            Event.objects.create(
                session=session, generation=generation, seq=seq, kind="message.delta", payload={}
            )
    yield ada
    call_command("flush", interactive=False, verbosity=0)


def test_all_goes_over_and_back_and_works_there(server: str, filled: User, other: Any) -> None:
    url = create(server, "moved")
    out = io.StringIO()
    call_command("move_database", url, stdout=out)
    assert "1,200  chat.Event" in out.getvalue()
    assert "Set DATABASE_URL" in out.getvalue()
    there = other(url)
    for model in in_order():
        assert summed(model, "default") == summed(model, there), model
    assert User.objects.using(there).get().check_password("correct horse")
    session = Session.objects.using(there).first()
    assert session is not None
    last = max(Event.objects.using(there).values_list("id", flat=True))
    row = Generation.objects.using(there).filter(session=session).get()
    new = Event(session=session, generation=row, seq=99, kind="message.end")
    new.save(using=there)
    assert new.pk == last + 1
    new.delete(using=there)
    with pytest.raises(CommandError, match=r"not empty: it has rows of .*chat\.User"):
        call_command("move_database", url)
    back = other(f"sqlite:///{Path(str(connections.databases['default']['NAME'])).parent}/back.db")
    told: list[Moved] = []
    move_rows(there, back, told.append)
    assert told == [summed(model, "default") for model in in_order()]


def test_what_cannot_be_stored_is_named_and_nothing_is_moved(
    server: str, filled: User, other: Any
) -> None:
    there = other(create(server, "refused"))
    bad = Session.objects.create(owner=filled, title="a\0b", model="chat")
    with pytest.raises(MoveError, match=rf"chat\.Session {bad.pk} cannot be stored there.*NUL"):
        move_rows("default", there, lambda moved: None)
    assert not User.objects.using(there).exists()


def test_a_difference_is_noticed(
    server: str, filled: User, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = other(create(server, "different"))
    from chat import moving

    copy = moving._copy

    def losing(model: Any, source: str, target: str) -> None:
        copy(model, source, target)
        if model is Message:
            Message.objects.using(target).filter(content__startswith="Q").update(content="q")

    monkeypatch.setattr(moving, "_copy", losing)
    with pytest.raises(MoveError, match=r"chat\.Message"):
        move_rows("default", there, lambda moved: None)
    assert not User.objects.using(there).exists()


@pytest.mark.django_db  # by this mark the run knows that a database is wanted here at all
def test_models_stand_behind_those_that_they_refer_to() -> None:
    order = in_order()
    late = []
    for model in order:
        for field in model._meta.concrete_fields:
            other = field.related_model
            if isinstance(other, type) and order.index(other) > order.index(model):
                late.append(str(field))
    # A session may be a fork of another one's message.
    assert late == ["chat.Session.forked_from"]
    assert User.groups.through in order


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "not a database's address"),
        ("sqlite:////tmp/x.db", "same kind"),
        ("postgres://tiny@127.0.0.1:1/x", "does not answer"),
    ],
)
def test_a_wrong_address_is_named(url: str, said: str, tmp_path: Path, settings: Any) -> None:
    settings.TINYLLM_DATA_DIR = tmp_path
    with pytest.raises(CommandError, match=said):
        call_command("move_database", url)


RACE = """
import threading, uuid
from django.db import connection
from chat import services
from chat.models import Quota, Usage, User
from chat.turn_records import TurnPlan
ada = User.objects.create_user("ada")
plan = TurnPlan("chat", range(10), {"max_tokens": None}, {}, "process", "request", wanted=40)
ends = []
def start(together):
    together.wait(60)
    try:
        services.turn_start(owner_id=ada.id, session_id=None, parent_id=None,
                            client_id=uuid.uuid4().hex, text="Hi", plan=plan)
        ends.append("began")
    except Exception as error:
        ends.append(type(error).__name__)
    connection.close()
for limit in ({"tokens_per_day": 50}, {"tokens_per_day": 0, "concurrent_turns": 2}):
    Quota.objects.update_or_create(user=ada, defaults=limit)
    together = threading.Barrier(6)
    threads = [threading.Thread(target=start, args=[together]) for _ in range(6)]
    [each.start() for each in threads]; [each.join(60) for each in threads]
    print(*sorted(ends)); ends.clear()
print(Usage.objects.get().reserved_tokens)
"""


def test_limits_hold_there_too(server: str, tmp_path: Path) -> None:
    """Where, unlike in SQLite, many transactions write at once."""
    environment = {
        **os.environ,
        "DATABASE_URL": create(server, "race"),
        "TINYLLM_DATA_DIR": str(tmp_path),
    }
    said = []
    for arguments in (["migrate", "-v0"], ["shell", "-v0", "-c", RACE]):
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said = done.stdout.splitlines()
    assert said == [
        "QuotaExceeded " * 5 + "began",
        "TooManyTurns " * 5 + "began",
        "50",
    ], json.dumps(said)
