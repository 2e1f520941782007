"""Owner, other user, staff, superuser and nobody, at every REST endpoint and every socket frame.

Sessions belong to their owner alone: who runs the site reads one in the admin, after saying why
(tests/test_break_glass.py).
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient

from chat.api import api
from chat.database import in_database
from chat.files.upload import take_in
from chat.folders import folder_create
from chat.frames import ClientFrame
from chat.generation import turns
from chat.models import Message, Preset, Session, User
from chat.session_settings.presets import preset_create
from chat.share_links import share_link_create
from chat.submission import Submission
from tests.chat_client import PATIENCE_S, Frame, Page, communicator
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

CLOSED = {"type": "websocket.close", "code": 4401}
PEOPLE = ["owner", "other", "staff", "superuser", "anonymous"]


class Scene:
    """A session of the owner's with one answered message, what else the owner has, and a client for
    each person. ids: by the names that addresses have for them."""

    def __init__(self, **ids: uuid.UUID) -> None:
        self.ids = ids
        self.clients: dict[str, AsyncClient] = {}

    @property
    def message(self) -> dict[str, str]:
        """As a frame names it."""
        return {name: str(self.ids[name]) for name in ("session_id", "message_id")}


@pytest.fixture
async def scene(site: FakeEngine, settings: Any) -> Scene:
    settings.TINYLLM_LOCAL = False
    settings.SECURE_SSL_REDIRECT = False

    def people() -> dict[str, User]:
        return {
            name: User.objects.create_user(
                name, is_staff=name in PEOPLE[2:4], is_superuser=name == "superuser"
            )
            for name in PEOPLE[:4]
        }

    users = await in_database(people)
    accepted = await turns().submit(
        owner_id=users["owner"].id, submission=Submission(text="Secret", model="chat")
    )
    assert accepted.live is not None
    await accepted.live.wait_end()
    owner = users["owner"].id
    preset = await in_database(preset_create, owner_id=owner, name="Secret preset", settings={})
    file = await take_in(owner_id=owner, name="a", data=b"Secret", model="chat")
    folder = await in_database(folder_create, owner_id=owner, name="Secret folder")
    its = {"owner_id": owner, "session_id": accepted.session_id}
    link, _token = await in_database(share_link_create, **its, kind="chat", days=1, author="")
    made = Scene(
        session_id=accepted.session_id,
        message_id=accepted.live.started.message_id,
        preset_id=preset.id,
        file_id=file.id,
        folder_id=folder.id,
        link_id=link.id,
    )
    for name in PEOPLE:
        made.clients[name] = AsyncClient()
        if name in users:
            await made.clients[name].aforce_login(users[name])
    return made


_ON_MESSAGE = "/api/sessions/{session_id}/messages/{message_id}"
ENDPOINTS = {
    ("post", "/api/chat"): (200, 404, 404, 404, 401),
    ("get", "/api/sessions"): (200, 200, 200, 200, 401),
    ("get", "/api/sessions/{session_id}"): (200, 404, 404, 404, 401),
    ("delete", "/api/sessions/{session_id}"): (204, 404, 404, 404, 401),
    ("put", "/api/sessions/{session_id}/branch"): (200, 404, 404, 404, 401),
    ("patch", "/api/sessions/{session_id}"): (200, 404, 404, 404, 401),
    ("get", "/api/sessions/{session_id}/events"): (200, 404, 404, 404, 401),
    ("get", "/api/sessions/{session_id}/export"): (200, 404, 404, 404, 401),
    ("get", "/api/search"): (200, 200, 200, 200, 401),
    ("get", "/api/engine"): (403, 403, 200, 200, 401),
    ("get", "/api/sessions/{session_id}/settings"): (200, 404, 404, 404, 401),
    ("put", "/api/sessions/{session_id}/settings"): (200, 404, 404, 404, 401),
    ("post", "/api/settings/check"): (200, 200, 200, 200, 401),
    ("get", "/api/presets"): (200, 200, 200, 200, 401),
    ("get", "/api/prompts"): (200, 200, 200, 200, 401),
    ("post", "/api/presets"): (200, 200, 200, 200, 401),
    ("patch", "/api/presets/{preset_id}"): (200, 404, 404, 404, 401),
    ("delete", "/api/presets/{preset_id}"): (204, 404, 404, 404, 401),
    ("get", "/api/presets/{preset_id}/versions"): (200, 404, 404, 404, 401),
    ("post", "/api/presets/{preset_id}/versions/{number}/restore"): (200, 404, 404, 404, 401),
    ("post", "/api/files"): (200, 200, 200, 200, 401),
    ("get", "/api/files/{file_id}"): (200, 404, 404, 404, 401),
    ("delete", "/api/files/{file_id}"): (204, 404, 404, 404, 401),
    ("get", "/api/messages/{message_id}/tokens"): (200, 404, 404, 404, 401),
    ("get", "/api/messages/{message_id}/tokens/{index}"): (200, 404, 404, 404, 401),
    ("post", "/api/learn/trace"): (200, 200, 200, 200, 401),
    ("put", f"{_ON_MESSAGE}/rating"): (200, 404, 404, 404, 401),
    ("delete", f"{_ON_MESSAGE}/rating"): (204, 404, 404, 404, 401),
    ("post", f"{_ON_MESSAGE}/fork"): (201, 404, 404, 404, 401),
    ("post", "/api/sessions/{session_id}/shares"): (201, 404, 404, 404, 401),
    ("get", "/api/shares"): (200, 200, 200, 200, 401),
    ("delete", "/api/shares/{link_id}"): (204, 404, 404, 404, 401),
    ("post", "/api/import"): (200, 200, 200, 200, 401),
    ("get", "/api/folders"): (200, 200, 200, 200, 401),
    ("post", "/api/folders"): (201, 201, 201, 201, 401),
    ("patch", "/api/folders/{folder_id}"): (200, 404, 404, 404, 401),
    ("delete", "/api/folders/{folder_id}"): (204, 404, 404, 404, 401),
    ("get", "/api/usage"): (200, 200, 200, 200, 401),
}


BODIES: dict[str, dict[str, Any]] = {
    "post": {"input": "Hi", "name": "Another", "settings": {}},
    "patch": {"title": "Mine", "name": "Mine"},
    "put": {"settings": {}, "value": 1},
}


def test_every_endpoint_is_in_the_matrix() -> None:
    paths = api.get_openapi_schema()["paths"]
    assert {(method, path) for path in paths for method in paths[path]} == set(ENDPOINTS)


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=" ".join)
async def test_endpoints(scene: Scene, endpoint: tuple[str, str], person: str) -> None:
    method, path = endpoint
    call = getattr(scene.clients[person], method)
    path = path.format(**scene.ids, index=0, number=1)
    if path == "/api/files":
        answer = await call(path, {"file": SimpleUploadedFile("b", b"Mine")})
    elif method in BODIES:
        body = json.dumps({**BODIES[method], **scene.message})
        answer = await call(path, body, content_type="application/json")
    else:
        answer = await (call(path, {"q": "Secret"}) if path == "/api/search" else call(path))
    assert answer.status_code == ENDPOINTS[endpoint][PEOPLE.index(person)]
    if answer.streaming:
        await answer.streaming_content.aclose()
        answer.close()
    elif person != "owner":
        assert b"Secret" not in answer.content
    if path == "/api/sessions" and answer.status_code == 200:
        assert len(answer.json()) == (1 if person == "owner" else 0)
    if endpoint == ("get", "/api/presets") and answer.status_code == 200:
        names = [preset["name"] for preset in answer.json()]
        assert names == (["Secret preset"] if person == "owner" else [])
    if path == "/api/search" and person == "owner":
        assert {hit["match"] for hit in answer.json()} == {"Secret"}
    if path.endswith("/fork") and answer.status_code == 201:
        forked = Session.objects.filter(forked_from=scene.ids["message_id"])
        await in_database(forked.delete)
    kept = await in_database(Session.objects.count)
    deleted = (*endpoint, person)
    assert kept == (0 if deleted == ("delete", "/api/sessions/{session_id}", "owner") else 1)
    kept = await in_database(Preset.objects.filter(id=scene.ids["preset_id"]).count)
    assert kept == (0 if deleted == ("delete", "/api/presets/{preset_id}", "owner") else 1)


FRAMES: dict[str, tuple[dict[str, Any], str]] = {
    "session.open": ({"after": 0}, "session.opened"),
    "turn.submit": ({"client_id": "c", "text": "Hi", "model": "chat"}, "turn.started"),
    "turn.stop": ({}, ""),
    "turn.continue": ({}, "cannot_continue"),
    "turn.regenerate": ({"model": "chat"}, "turn.started"),
    "turn.branch_token": ({"index": 3, "token_id": 65}, "turn.started"),
    "turn.rewrite": ({"client_id": "r", "text": "Hi"}, "turn.started"),
    "branch.show": ({}, ""),
    "context.count": ({"client_id": "g", "model": "chat", "text": ""}, "context.counted"),
}
WRITTEN = {"turn.submit": 2, "turn.regenerate": 1, "turn.branch_token": 1, "turn.rewrite": 1}
"""Messages that come of what the owner may do."""


def test_every_frame_is_in_the_matrix() -> None:
    assert len(FRAMES) == len(ClientFrame.__args__)


async def page_of(scene: Scene, person: str) -> Page:
    """A connected socket with the person's cookie."""
    page = Page()
    cookie = scene.clients[person].cookies[django_settings.SESSION_COOKIE_NAME].value
    headers = [
        (b"host", b"testserver"),
        (b"origin", b"https://testserver"),
        (b"cookie", f"{django_settings.SESSION_COOKIE_NAME}={cookie}".encode()),
    ]
    page.socket = communicator(headers)
    return await page.__aenter__()


async def first_answer(page: Page) -> Frame:
    return json.loads(await page.socket.receive_from(timeout=PATIENCE_S))  # type: ignore[no-any-return]


@pytest.mark.parametrize("person", PEOPLE[:4])
@pytest.mark.parametrize("kind", FRAMES)
async def test_frames(scene: Scene, kind: str, person: str) -> None:
    fields, expected = FRAMES[kind]
    page = await page_of(scene, person)
    await page.send(kind, **fields, **scene.message)
    if person == "owner" and not expected:
        assert await page.socket.receive_nothing()
    else:
        told = await first_answer(page)
        page.shown.apply(told)
        wanted = expected if person == "owner" else "session_not_found"
        assert wanted in (told["type"], told.get("code"))
        assert person == "owner" or "Secret" not in str(told)
    written = WRITTEN.get(kind, 0) if person == "owner" else 0
    if written:
        await page.until("message.end")
    await page.socket.disconnect()
    assert await in_database(Message.objects.count) == 2 + written


async def test_nobody_is_answered_by_a_socket(scene: Scene) -> None:
    """It opens only to say why it closes: a page is told to ask who it is."""
    headers = [(b"host", b"testserver"), (b"origin", b"https://testserver")]
    socket = communicator(headers)
    assert (await socket.connect(timeout=PATIENCE_S))[0] is True
    assert await socket.receive_output(timeout=PATIENCE_S) == CLOSED
    for kind, (fields, _) in FRAMES.items():
        its = {"v": 1, "type": kind, **fields, **scene.message}
        await socket.send_to(text_data=json.dumps(its))
    assert await socket.receive_nothing()
    assert await in_database(Message.objects.count) == 2


@pytest.mark.parametrize("how", ["signed out", "password changed", "account closed"])
async def test_an_open_socket_ends_with_the_right_to_it(scene: Scene, how: str) -> None:
    page, other = await page_of(scene, "owner"), await page_of(scene, "other")
    await page.send("session.open", session_id=str(scene.ids["session_id"]), after=0)
    await page.until("message.end")
    owner = await User.objects.aget(username="owner")
    if how == "signed out":
        await scene.clients["owner"].post("/account/logout/")
    elif how == "password changed":
        owner.set_unusable_password()
        await owner.asave(update_fields=["password"])
    else:
        owner.is_active = False
        await owner.asave()
    assert await page.socket.receive_output(timeout=PATIENCE_S) == CLOSED
    await page.send("turn.submit", client_id="late", text="Hi", model="chat")
    assert await page.socket.receive_nothing()
    await other.send("turn.submit", client_id="c", text="Hi", model="chat")
    await other.until("turn.started")
    for each in (page, other):
        await each.socket.disconnect()


async def test_another_user_s_name_for_a_message_is_not_found(scene: Scene) -> None:
    """client_id is the sender's own: the same one from somebody else is another message."""
    for person in ("owner", "other"):
        page = await page_of(scene, person)
        await page.submit("Hi", client_id="same")
        await page.until("message.end")
        await page.socket.disconnect()
    assert await in_database(Session.objects.count) == 3


async def test_a_forged_form_is_refused(scene: Scene) -> None:
    client = AsyncClient(enforce_csrf_checks=True)
    owner = await User.objects.aget(username="owner")
    await client.aforce_login(owner)
    answer = await client.delete(f"/api/sessions/{scene.ids['session_id']}")
    assert answer.status_code == 403
    assert await in_database(Session.objects.count) == 1


@pytest.mark.parametrize("person", ["other", "staff"])
async def test_nobody_attaches_what_is_another_s(scene: Scene, person: str) -> None:
    body = {"input": "What does it say?", "files": [str(scene.ids["file_id"])]}
    path, kind = "/api/chat", "application/json"
    answer = await scene.clients[person].post(path, body, content_type=kind)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "file_not_found")
    assert await in_database(Session.objects.count) == 1
