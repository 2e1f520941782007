"""Files over REST: taken in once, read apart, limited, their owner's alone, and swept away."""

from __future__ import annotations

import hashlib
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient
from django.utils import timezone

from chat.database import in_database
from chat.files import process, services
from chat.files.errors import FileInUse, FileRefused
from chat.files.upload import plain_name
from chat.identity import local_user
from chat.models import File, MessageFile, Session
from tests import document_files as made
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def upload(name: str, data: bytes, *, status: int = 200, **headers: str) -> dict[str, Any]:
    form = {"file": SimpleUploadedFile(name, data)}
    answer = await AsyncClient().post("/api/files", form, headers=headers)
    told: dict[str, Any] = answer.json()
    assert answer.status_code == status, told
    return told


async def ask(file: dict[str, Any], text: str = "What is it about?", **more: Any) -> dict[str, Any]:
    body = {"input": text, "files": [file["id"]], **more}
    answer = await AsyncClient().post("/api/chat", body, content_type="application/json")
    told: dict[str, Any] = answer.json()
    assert answer.status_code == 200, told
    return told


async def test_a_file_is_read_counted_and_not_kept(site: FakeEngine) -> None:
    data = made.pdf("Ten countries", "Two pages")
    told = await upload("folder\\Über.pdf", data)
    row = await File.objects.aget()
    assert told == {
        "id": str(row.id),
        "name": "Über.pdf",
        "kind": "pdf",
        "encoding": "",
        "size": len(data),
        "characters": len(row.text),
        "tokens": len(row.text.encode()),
        "in_use": False,
    }
    assert row.sha256 == hashlib.sha256(data).hexdigest()
    assert row.places == [{"start": 0, "at": {"page": 1}}, {"start": 15, "at": {"page": 2}}]
    answer = await AsyncClient().get(f"/api/files/{row.id}", {"start": 15, "end": 18})
    assert (answer.json()["text"], answer.json()["start"], answer.json()["end"]) == ("Two", 15, 18)


async def test_the_same_file_is_one_row_under_its_newest_name(
    site: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await upload("a.txt", b"Same bytes")
    monkeypatch.setattr(process, "_ask", None)  # it is not read again
    again = await upload("b.txt", b"Same bytes")
    assert (again["id"], again["name"]) == (first["id"], "b.txt")
    await ask(first)
    sent = await upload("c.txt", b"Same bytes")
    assert (sent["id"], sent["name"], sent["in_use"]) == (first["id"], "b.txt", True)


async def test_a_refusal_names_the_file_and_the_limit(site: FakeEngine, settings: Any) -> None:
    settings.TINYLLM_FILE_PAGES = 1
    told = await upload("two.pdf", made.pdf("1", "2"), status=413)
    assert told["error"]["code"] == "file_too_many_pages"
    assert told["error"]["message"] == "two.pdf has 2 pages; at most 1 are read of a file."
    chinese = {"accept-language": "zh-hans"}
    told = await upload("two.pdf", made.pdf("1", "2"), status=413, **chinese)
    assert "two.pdf" in told["error"]["message"]
    assert "2 页" in told["error"]["message"]
    told = await upload("a.docx", b"nothing", status=400)
    assert told["error"]["message"] == "a.docx is not the DOCX file that its name promises."
    assert told["error"]["param"] == "file"
    assert await File.objects.acount() == 0


async def test_bytes_are_limited_per_file_and_per_owner(site: FakeEngine, settings: Any) -> None:
    settings.TINYLLM_FILE_MB = 1
    told = await upload("big.txt", b"x" * 1_000_001, status=413)
    assert told["error"]["code"] == "file_too_large"
    told = await upload("big.txt", b"x" * 1_200_000, status=413)
    assert told["error"]["code"] == "body_too_large"  # not even taken apart
    settings.TINYLLM_FILES_OWNER_MB = 1
    await upload("half.txt", b"x" * 600_000)
    told = await upload("half.md", b"y" * 600_000, status=413)
    assert told["error"]["code"] == "file_quota"
    assert "1200000" in told["error"]["message"]


async def test_what_is_no_form_or_has_no_file_is_refused(site: FakeEngine) -> None:
    client = AsyncClient()
    answer = await client.post("/api/files", {"file": "text"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
    answer = await client.post("/api/files", "x", content_type="text/plain")
    assert answer.status_code == 415
    # Only there: a page of another site can send a form without asking the browser.
    answer = await client.post("/api/chat", {"input": "Hi"})
    assert answer.status_code == 415


async def test_a_reader_is_killed_at_its_time_and_bound_in_memory(settings: Any) -> None:
    settings.TINYLLM_FILE_SECONDS, settings.TINYLLM_FILE_CHARACTERS = 1, 10**9
    with pytest.raises(FileRefused) as slow:
        await process.read_apart("slow.pdf", made.pdf(*["(word) " * 40_000] * 60))
    assert slow.value.code == "file_too_slow"
    assert slow.value.fields == {"param": "file", "file": "slow.pdf", "limit": 1}
    settings.TINYLLM_FILE_SECONDS, settings.TINYLLM_FILE_MEMORY_MB = 30, 120
    with pytest.raises(FileRefused) as large:
        await process.read_apart("large.txt", b"x" * 60_000_000)
    assert (large.value.code, large.value.fields["limit"]) == ("file_too_much_memory", 120)


async def test_the_reader_s_process_can_do_nothing_else(tmp_path: Any) -> None:
    import subprocess
    import sys

    tries = {
        "write": f"open({str(tmp_path / 'x')!r}, 'w')",
        "connect": "import socket; socket.create_connection(('127.0.0.1', 9))",
        "run": "import subprocess; subprocess.run(['true'])",
        "system": "import os; os.system('true')",
        "delete": f"import os; os.remove({str(tmp_path)!r})",
    }
    for what, code in tries.items():
        start = "from chat.reading.__main__ import confine; confine(10**9, 5); "
        ran = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True)  # noqa: ASYNC221
        assert "NotAllowed" in ran.stderr, what


async def test_a_file_goes_with_its_last_message_and_not_before(site: FakeEngine) -> None:
    file = await upload("a.txt", b"Bread is baked")
    first, second = await ask(file), await ask(file)
    answer = await AsyncClient().delete(f"/api/files/{file['id']}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, FileInUse.code)
    for number, each in enumerate((first, second)):
        assert await File.objects.acount() == 1
        answer = await AsyncClient().delete(f"/api/sessions/{each['session_id']}")
        assert answer.status_code == 204, number
    assert await File.objects.acount() == 0


async def test_a_file_that_waits_for_another_message_stays(site: FakeEngine) -> None:
    file = await upload("a.txt", b"Bread is baked")
    said = await ask(file)
    await upload("a.txt", b"Bread is baked")
    await AsyncClient().delete(f"/api/sessions/{said['session_id']}")
    assert await File.objects.acount() == 1
    assert (await AsyncClient().delete(f"/api/files/{file['id']}")).status_code == 204
    assert await File.objects.acount() == 0


async def test_what_nobody_sends_is_swept_after_a_day(site: FakeEngine) -> None:
    old, new, sent = [await upload(f"{name}.txt", name.encode()) for name in ("old", "new", "sent")]
    await ask(sent)
    ids = [old["id"], sent["id"]]
    ago = timezone.now() - services.WAITING - timedelta(minutes=1)
    await File.objects.filter(id__in=ids).aupdate(waiting_since=ago)
    assert await in_database(services.files_sweep) == 1
    assert {str(file.id) async for file in File.objects.all()} == {new["id"], sent["id"]}


async def test_files_go_with_their_owner(site: FakeEngine) -> None:
    file = await upload("a.txt", b"Bread is baked")
    await ask(file)
    await upload("b.txt", b"Waiting")
    await (await in_database(local_user)).adelete()
    assert await File.objects.acount() == await MessageFile.objects.acount() == 0
    assert await Session.objects.acount() == 0


async def test_a_file_that_is_not_there_is_said_and_nothing_is_written(site: FakeEngine) -> None:
    missing = str(uuid.uuid4())
    body = {"input": "Hi", "files": [missing]}
    answer = await AsyncClient().post("/api/chat", body, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "file_not_found")
    assert missing in answer.json()["error"]["message"]
    assert (await AsyncClient().get("/api/files/nonsense")).status_code == 404
    assert await Session.objects.acount() == 0


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("C:\\Users\\ada\\a.txt", "a.txt"),
        ("../../etc/passwd", "passwd"),
        ("two\nlines\x00.txt", "two lines .txt"),
        ("a" * 300 + ".docx", "a" * 249 + "….docx"),
    ],
)
def test_a_name_is_only_a_name(given: str, shown: str) -> None:
    assert plain_name(given) == shown


@pytest.mark.parametrize("local", [True, False])
async def test_a_broken_form_is_said_to_be_one(
    site: FakeEngine, settings: Any, make_user: Any, local: bool
) -> None:
    settings.TINYLLM_LOCAL, settings.SECURE_SSL_REDIRECT = local, False
    client = AsyncClient(enforce_csrf_checks=True)
    if not local:
        await client.aforce_login(await in_database(make_user, "ada"))
    kind = "multipart/form-data"
    answer = await client.post("/api/files", data="no boundary", content_type=kind)
    assert answer.status_code == (400 if local else 403)
    kind = "multipart/form-data; boundary=x"
    answer = await client.post("/api/files", data="--x\r\nnothing", content_type=kind)
    assert answer.status_code == (400 if local else 403)


async def test_staff_see_files_without_name_and_text(site: FakeEngine, make_user: Any) -> None:
    await upload("Jahresbericht.txt", b"Bread is baked")
    boss = await in_database(lambda: make_user("boss", is_staff=True, is_superuser=True))
    client = AsyncClient()
    await client.aforce_login(boss)
    row = await File.objects.aget()
    for path in ("/admin/chat/file/", f"/admin/chat/file/{row.id}/change/"):
        page = (await client.get(path)).content.decode()
        assert str(row.id) in page
        assert "Jahresbericht" not in page
        assert "Bread" not in page
