"""Encrypted values: read in whatever state they are, rotated, bound to their column, searched."""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, models

from chat.checks import encrypted_rows, encryption_keys
from chat.encryption import keys as room
from chat.encryption import used_keys
from chat.encryption.cipher import Unreadable
from chat.encryption.fields import MARK, Encrypted
from chat.errors import InvalidRequest
from chat.folders import folder_create, folder_rename, folders_of
from chat.models import (
    EncryptionKey,
    Generation,
    Message,
    MessageReading,
    Preset,
    SearchText,
    Session,
    User,
)
from chat.packing import pack, unpack
from chat.search import search
from chat.search_index import index_turn
from tests.test_privacy_erasure import careless, files_with, index_blocks
from tinyllm_site import env

__all__ = ["careless"]

pytestmark = pytest.mark.django_db(transaction=True)

OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (7, 8))
SECRET, CHINESE = "vexqwyjfk", "龗鱻麤爨"
TOLD = f"{SECRET} {CHINESE}"

PLAIN = {
    "User": "password username first_name last_name email",
    "SetupToken": "digest",
    "ApiToken": "name prefix digest scopes",
    "AccountLink": "kind digest",
    "Session": "model",
    "Message": "role client_id",
    "SearchText": "text",  # there are no rows of it
    "EncryptionKey": "id",
    "File": "kind encoding sha256 model",
    "FileVectors": "model",
    "Generation": "status model fingerprint engine timings finish_reason error owner request_id",
    "Event": "kind",
    "AuditEntry": "actor action target_type target_id target before after",
    "PresetVersion": "digest",
    "BreakGlass": "reason",  # the operator's, which the audit log has too
    "Summary": "model fingerprint sampling",
    "SiteSetting": "name value",
    "ShareLink": "digest author kind",
}
"""Columns with text in which nothing is that was said. A new one stands here or is encrypted."""


@pytest.fixture(autouse=True)
def alone(settings: Any, tmp_path: Path) -> None:
    """A data folder that nobody else is at work on: what other tests left running is not."""
    settings.TINYLLM_DATA_DIR = tmp_path


@pytest.fixture
def encrypted(settings: Any, transactional_db: None) -> Any:
    """The settings, with a key."""
    settings.TINYLLM_ENCRYPTION_KEYS = (OLD,)
    return settings


def database() -> Path:
    return Path(str(connection.settings_dict["NAME"]))


def left_in(folder: Path) -> list[str]:
    """Files with a word that was told, or with the tokens of one, packed or as numbers."""
    tokens = list(SECRET.encode())
    packed = [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and pack(tokens) in path.read_bytes()
    ]
    return files_with(folder, [SECRET, CHINESE, json.dumps(tokens)[1:-1]]) + packed


def raw(model: Any, column: str) -> Any:
    """As the database has it."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {model._meta.db_table}")  # noqa: S608
        (row,) = cursor.fetchall()
    return row[0]


def test_every_column_is_encrypted_or_known_to_be_plain() -> None:
    kinds = (models.TextField, models.CharField, models.JSONField, models.BinaryField)
    found: dict[str, set[str]] = {}
    for model in apps.get_app_config("chat").get_models():
        for column in model._meta.concrete_fields:
            if isinstance(column, kinds) and not isinstance(column, Encrypted):
                found.setdefault(model.__name__, set()).add(column.name)
    assert found == {name: set(columns.split()) for name, columns in PLAIN.items()}


def fill(owner: User, text: str = TOLD) -> dict[str, Any]:
    """Rows with values of every kind. Returns what is in them."""
    session = Session.objects.create(owner=owner, title=text, model="chat", settings={"a": text})
    asked = Message.objects.create(session=session, role="user", content=text)
    said = Message.objects.create(session=session, role="assistant", content=text, parent=asked)
    MessageReading.objects.create(message=asked, prompt_text=text, tokens=1, passages=[text])
    Generation.objects.create(
        session=session, message=said, model="chat", status="DONE", context={"a": text},
        prompt_ids=pack(list(text.encode())), sampling={"stop": [text]},
    )  # fmt: skip
    index_turn(message_id=said.id)
    return values()


def values() -> dict[str, Any]:
    session, generation = Session.objects.get(), Generation.objects.get()
    reading = MessageReading.objects.get()
    return {
        "title": session.title,
        "settings": session.settings,
        "texts": sorted(Message.objects.values_list("content", flat=True)),
        "reading": (reading.prompt_text, reading.passages),
        "prompt": unpack(generation.prompt_ids),
        "empty": (bytes(generation.output_ids), generation.token_offsets),
        "more": (generation.context, generation.sampling),
    }


def test_plain_rows_are_read_encrypted_rotated_and_made_plain_again(
    settings: Any, make_user: Callable[..., User], tmp_path: Path, capsys: Any
) -> None:
    settings.TINYLLM_DATA_DIR = tmp_path
    owner = make_user("ada")
    before = fill(owner)
    assert [hit.match for hit in search(owner_id=owner.id, query=CHINESE[:1])] == [CHINESE[0]] * 3
    assert CHINESE[:3].encode()[1:] in index_blocks()

    settings.TINYLLM_ENCRYPTION_KEYS = (OLD,)
    assert values() == before, "rows of before"
    call_command("encrypt")
    assert values() == before
    assert left_in(database().parent) == []
    assert CHINESE[:3].encode()[1:] not in index_blocks()
    assert SearchText.objects.count() == 0
    assert [hit.match for hit in search(owner_id=owner.id, query=CHINESE[:1])] == [CHINESE[0]] * 3

    settings.TINYLLM_ENCRYPTION_KEYS = (NEW, OLD)
    assert values() == before
    capsys.readouterr()
    call_command("encrypt", check=True)
    old = room.keys()[1].name
    assert f"In all: 9 with the key {old}\n" in capsys.readouterr().out
    call_command("encrypt")
    call_command("encrypt", check=True)
    assert "In all: 9 with the first key\n" in capsys.readouterr().out
    settings.TINYLLM_ENCRYPTION_KEYS = (NEW,)
    assert values() == before
    assert encrypted_rows(None) == []

    call_command("encrypt", decrypt=True)
    settings.TINYLLM_ENCRYPTION_KEYS = ()
    assert values() == before
    assert encrypted_rows(None) == []
    assert files_with(database().parent, [SECRET])
    for query in (SECRET, CHINESE[:1]):
        assert len(search(owner_id=owner.id, query=query)) == 3


@pytest.mark.parametrize("keys", [(), (OLD,)], ids=["plain", "encrypted"])
def test_a_text_that_begins_like_an_encrypted_one_comes_back(
    settings: Any, make_user: Any, keys: tuple[str, ...]
) -> None:
    settings.TINYLLM_ENCRYPTION_KEYS = keys
    text = f"{MARK}:{MARK}AAAA"
    before = fill(make_user("ada"), text)
    assert (before["title"], before["prompt"]) == (text, list(text.encode()))
    settings.TINYLLM_ENCRYPTION_KEYS = (OLD,)
    call_command("encrypt")
    assert values() == before


def test_half_a_character_in_json_comes_back(encrypted: Any, make_user: Any) -> None:
    made = Preset.objects.create(owner=make_user("ada"), settings={"stop": ["\ud83d"]})
    assert Preset.objects.get(id=made.id).settings == {"stop": ["\ud83d"]}


def test_one_of_before_is_marked_as_plain(make_user: Any) -> None:
    session = Session.objects.create(owner=make_user("ada"), model="chat")
    message = Message.objects.create(session=session, role="user")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_message SET content = 'enc1:AAAA'")
    migration = importlib.import_module("chat.migrations.0020_encryption")
    with connection.schema_editor() as editor:
        migration.mark_plain(apps, editor)
    message.refresh_from_db()
    assert message.content == "enc1:AAAA"


def test_names_of_before_are_marked_too_and_sorted_when_they_are_read(
    settings: Any, make_user: Any
) -> None:
    owner = make_user("ada")
    folder = folder_create(owner_id=owner.id, name="x")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_folder SET name = 'enc1:AAAA'")
    migration = importlib.import_module("chat.migrations.0026_encrypted_names")
    with connection.schema_editor() as editor:
        migration.mark_plain(apps, editor)
    settings.TINYLLM_ENCRYPTION_KEYS = (OLD,)
    names = ["b", "A", "文件", "enc1:AAAA", "B", "a"]
    for name in names:
        if name != "enc1:AAAA":
            folder_create(owner_id=owner.id, name=name)
    with pytest.raises(InvalidRequest, match="already"):
        folder_create(owner_id=owner.id, name="enc1:AAAA")
    told = [each.name for each in folders_of(owner_id=owner.id)]
    assert told == ["A", "a", "B", "b", "enc1:AAAA", "文件"]
    folder_rename(owner_id=owner.id, folder_id=folder.id, name="enc1:AAAA")  # its own


def test_keys_are_read_from_the_environment_and_never_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(env, "READ", {})
    monkeypatch.setenv("SOME_KEYS", f"{NEW}, {OLD},")
    assert env.secrets("SOME_KEYS") == (NEW, OLD)
    assert env.READ["SOME_KEYS"].value == env.HIDDEN
    assert NEW not in repr(room._keys((NEW,)))


def test_a_value_in_another_column_or_changed_is_refused(encrypted: Any, make_user: Any) -> None:
    fill(make_user("ada"))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_message SET content = (SELECT title FROM chat_session)")
    with pytest.raises(Unreadable, match=r"chat_message\.content has a value that was changed"):
        list(Message.objects.all())
    stored = raw(Generation, "prompt_ids")
    with connection.cursor() as cursor:
        changed = bytes([*stored[:-1], stored[-1] ^ 1])
        cursor.execute("UPDATE chat_generation SET prompt_ids = %s", [changed])
    with pytest.raises(Unreadable, match="chat_generation"):
        Generation.objects.get()
    with pytest.raises(CommandError, match="does not have: 3"):
        call_command("encrypt", check=True)
    assert raw(Generation, "prompt_ids") == changed


def test_the_server_does_not_start_without_the_key(encrypted: Any, make_user: Any) -> None:
    used_keys.note_used()
    fill(make_user("ada"))
    name = room.keys()[0].name
    for wrong in ((), (NEW,)):
        encrypted.TINYLLM_ENCRYPTION_KEYS = wrong
        with pytest.raises(CommandError, match=f"{name}.*TINYLLM_ENCRYPTION_KEYS has no such key"):
            call_command("serve", port=0)
        assert [said.id for said in encrypted_rows(None)] == ["chat.E013"]
    with pytest.raises(Unreadable, match=f"the key {name}, which is not in TINYLLM_ENCRYPTION"):
        Session.objects.get()
    with pytest.raises(CommandError, match="need a key"):
        call_command("encrypt")
    assert EncryptionKey.objects.count() == 2, "what could not be read still needs its key"


@pytest.mark.parametrize("wrong", ["secret", base64.b64encode(b"x" * 31).decode(), "é" * 44])
def test_what_is_no_key_is_said_and_not_shown(settings: Any, wrong: str) -> None:
    settings.TINYLLM_ENCRYPTION_KEYS = (OLD, wrong)
    (said,) = encryption_keys(None)
    assert said.id == "chat.E012"
    assert said.msg.startswith("Key 2 of TINYLLM_ENCRYPTION_KEYS is not 32 random bytes")
    assert wrong not in said.msg
