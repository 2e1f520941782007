"""The same on a real PostgreSQL, whose columns and statements are others."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

from tests.postgres import create, postgres

ROOT = Path(__file__).resolve().parent.parent
OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))

WRITE = """
from django.db import transaction
from chat import event_rows, services
from chat.delta_rows import Piece
from chat.event_rows import Pending
from chat.models import Event, Message, Session, User
from chat.packing import pack
from chat.turn_records import TurnPlan
ada = User.objects.create_user("ada")
plan = TurnPlan("chat", [258, 5], {"stop": ["secret"]}, {}, "process", "request")
turn = services.turn_start(owner_id=ada.id, session_id=None, parent_id=None, client_id="c",
                           text="secret", plan=plan, settings={"system_prompt": "secret"})
Session.objects.update(title="secret " * 28)
pending = [Pending(turn, "secret", [Piece(2, 0, "sec", [1], [0]), Piece(3, 3, "ret", [2], [3])])]
event_rows.write_texts(pending)
event_rows.write_events(pending)

class Undone(Exception):
    pass  # what follows is another test's, which expects one session only

event_rows.MOST_ROWS = 2
try:
    with transaction.atomic():
        begun = [services.turn_start(owner_id=ada.id, session_id=None, parent_id=None,
                 client_id=None, text="many", plan=plan) for _ in range(5)]
        many = [Pending(turn, f"secret {n}", [Piece(2, 0, f"secret {n}", [n], [0])])
                for n, turn in enumerate(begun)]
        Message.objects.get(id=begun[3].message_id).delete()
        assert event_rows.write_texts(many) == 4
        del many[3]
        event_rows.write_events(many)
        for its in many:
            assert Message.objects.get(id=its.turn.message_id).content == its.content
            (row,) = Event.objects.filter(session_id=its.turn.session_id, kind="message.delta")
            assert (row.generation_id, row.seq) == (its.turn.generation_id, 2)
            assert row.payload["text"] == its.content
        raise Undone
except Undone:
    pass
"""
AT_ONCE = """
import threading, time
from django.db import connection, connections, transaction
from chat.errors import InvalidRequest
from chat.folders import folder_create
from chat.models import Folder, User
from chat.session_settings.presets import preset_create
ada = User.objects.get()
preset_create(owner_id=ada.id, name="secret " * 11, settings={})
refused = threading.Event()
def same():
    try:
        folder_create(owner_id=ada.id, name="secret")
    except InvalidRequest:
        refused.set()
    connections.close_all()
def waits():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0]
other = threading.Thread(target=same)
with transaction.atomic():
    folder_create(owner_id=ada.id, name="secret")
    other.start()
    while other.is_alive() and not waits():
        time.sleep(0.01)
other.join()
print(refused.is_set(), Folder.objects.count())
"""
READ = """
def read():
    session, generation = Session.objects.get(), Generation.objects.get()
    assert session.title == "secret " * 28 and session.settings == {"system_prompt": "secret"}
    assert list(Message.objects.values_list("content", flat=True)) == ["secret"] * 2
    names = [Folder.objects.get().name, Preset.objects.get().name, PresetVersion.objects.get().name]
    assert names == ["secret", *[("secret " * 11).strip()] * 2]
    assert [event.payload.get("text") for event in Event.objects.all()] == [None, "secret"]
    assert unpack(generation.prompt_ids) == [258, 5] and generation.sampling["stop"] == ["secret"]
    said = ""
    with connection.cursor() as cursor:
        for model in tables():
            cursor.execute(f"SELECT * FROM {model._meta.db_table}")
            said += str(cursor.fetchall())
    print("secret" in said, len(search(owner_id=session.owner_id, query="sec")))

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from chat.encryption.rewriting import tables
from chat.models import Event, Folder, Generation, Message, Preset, PresetVersion, Session
from chat.packing import unpack
from chat.search import search
new, old = settings.TINYLLM_ENCRYPTION_KEYS
read()
call_command("encrypt", stdout=open("/dev/null", "w"))
settings.TINYLLM_ENCRYPTION_KEYS = (new,)
read()
call_command("encrypt", decrypt=True, stdout=open("/dev/null", "w"))
settings.TINYLLM_ENCRYPTION_KEYS = ()
read()
"""


def test_written_rotated_and_made_plain(tmp_path: Path) -> None:
    with postgres() as url:
        environment = {
            **os.environ,
            "DATABASE_URL": create(url, "encrypted"),
            "TINYLLM_DATA_DIR": str(tmp_path),
        }

        def manage(keys: str, *arguments: str) -> str:
            done = subprocess.run(
                [sys.executable, "manage.py", *arguments],
                cwd=ROOT,
                env={**environment, "TINYLLM_ENCRYPTION_KEYS": keys},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        manage("", "migrate", "-v0")
        manage(OLD, "shell", "-v0", "-c", WRITE)
        assert manage(OLD, "shell", "-v0", "-c", AT_ONCE) == "True 1\n"
        said = manage(f"{NEW},{OLD}", "shell", "-v0", "-c", READ)
        assert said.splitlines() == ["False 3", "False 3", "True 3"]
