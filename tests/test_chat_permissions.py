"""Owner, another user, staff and nobody, at every REST endpoint and every socket frame.

Sessions belong to their owner alone: staff look at them in the admin, where that is visible.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import AsyncClient

from chat.api import api
from chat.database import in_database
from chat.frames import ClientFrame
from chat.generation import turns
from chat.models import Message, Session, User
from chat.submission import Submission
from tests.chat_client import Frame, Page, communicator
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

PEOPLE = ["owner", "other", "staff", "anonymous"]


class Scene:
    """A session of the owner's with one answered message, and a client for each person."""

    def __init__(self, session_id: uuid.UUID, message_id: uuid.UUID) -> None:
        self.session_id = session_id
        self.message_id = message_id
        self.clients: dict[str, AsyncClient] = {}


@pytest.fixture
async def scene(site: FakeEngine, settings: Any) -> Scene:
    settings.TINYLLM_LOCAL = False
    settings.SECURE_SSL_REDIRECT = False

    def people() -> dict[str, User]:
        return {
            name: User.objects.create_user(
                name, is_staff=name == "staff", is_superuser=name == "staff"
            )
            for name in PEOPLE[:3]
        }

    users = await in_database(people)
    accepted = await turns().submit(
        owner_id=users["owner"].id, submission=Submission(text="Secret", model="chat")
    )
    assert accepted.live is not None
    await accepted.live.wait_end()
    made = Scene(accepted.session_id, accepted.live.started.message_id)
    for name in PEOPLE:
        made.clients[name] = AsyncClient()
        if name in users:
            await made.clients[name].aforce_login(users[name])
    return made


ENDPOINTS = {
    ("post", "/api/chat"): (200, 404, 404, 401),
    ("get", "/api/sessions"): (200, 200, 200, 401),
    ("get", "/api/sessions/{session_id}"): (200, 404, 404, 401),
    ("delete", "/api/sessions/{session_id}"): (204, 404, 404, 401),
    ("put", "/api/sessions/{session_id}/branch"): (200, 404, 404, 401),
    ("patch", "/api/sessions/{session_id}"): (200, 404, 404, 401),
    ("get", "/api/sessions/{session_id}/events"): (200, 404, 404, 401),
    ("get", "/api/sessions/{session_id}/export"): (200, 404, 404, 401),
    ("get", "/api/search"): (200, 200, 200, 401),
    ("get", "/api/usage"): (200, 200, 200, 401),
    ("get", "/api/engine"): (403, 403, 200, 401),
}


BODIES: dict[str, dict[str, str]] = {"post": {"input": "Hi"}, "patch": {"title": "Mine"}, "put": {}}


def test_every_endpoint_is_in_the_matrix() -> None:
    paths = api.get_openapi_schema()["paths"]
    assert {(method, path) for path in paths for method in paths[path]} == set(ENDPOINTS)


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=" ".join)
async def test_endpoints(scene: Scene, endpoint: tuple[str, str], person: str) -> None:
    method, path = endpoint
    call = getattr(scene.clients[person], method)
    path = path.format(session_id=scene.session_id)
    if method in BODIES:
        ids = {"session_id": str(scene.session_id), "message_id": str(scene.message_id)}
        body = json.dumps({**BODIES[method], **ids})
        answer = await call(path, body, content_type="application/json")
    else:
        answer = await (call(path, {"q": "Secret"}) if path == "/api/search" else call(path))
    assert answer.status_code == ENDPOINTS[endpoint][PEOPLE.index(person)]
    if answer.streaming:
        await answer.streaming_content.aclose()
    elif person != "owner":
        assert b"Secret" not in answer.content
    if path == "/api/sessions" and answer.status_code == 200:
        assert len(answer.json()) == (1 if person == "owner" else 0)
    if path == "/api/search" and person == "owner":
        assert {hit["match"] for hit in answer.json()} == {"Secret"}
    kept = await in_database(Session.objects.count)
    assert kept == (0 if (method, person) == ("delete", "owner") else 1)


FRAMES: dict[str, tuple[dict[str, Any], str]] = {
    "session.open": ({"after": 0}, "session.opened"),
    "turn.submit": ({"client_id": "c", "text": "Hi", "model": "chat"}, "turn.started"),
    "turn.stop": ({}, ""),
    "turn.continue": ({}, "cannot_continue"),
    "turn.regenerate": ({"model": "chat"}, "turn.started"),
    "branch.show": ({}, ""),
}
WRITTEN = {"turn.submit": 2, "turn.regenerate": 1}
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
    return json.loads(await page.socket.receive_from(timeout=10))  # type: ignore[no-any-return]


@pytest.mark.parametrize("person", PEOPLE[:3])
@pytest.mark.parametrize("kind", FRAMES)
async def test_frames(scene: Scene, kind: str, person: str) -> None:
    fields, expected = FRAMES[kind]
    page = await page_of(scene, person)
    ids = {"session_id": str(scene.session_id), "message_id": str(scene.message_id)}
    await page.send(kind, **fields, **ids)
    if person == "owner" and not expected:
        assert await page.socket.receive_nothing()
    else:
        told = await first_answer(page)
        wanted = expected if person == "owner" else "session_not_found"
        assert wanted in (told["type"], told.get("code"))
        assert person == "owner" or "Secret" not in str(told)
    written = WRITTEN.get(kind, 0) if person == "owner" else 0
    if written:
        await page.until("message.end")
    await page.socket.disconnect()
    assert await in_database(Message.objects.count) == 2 + written


async def test_nobody_gets_no_socket(scene: Scene) -> None:
    headers = [(b"host", b"testserver"), (b"origin", b"https://testserver")]
    assert (await communicator(headers).connect())[0] is False


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
    answer = await client.delete(f"/api/sessions/{scene.session_id}")
    assert answer.status_code == 403
    assert await in_database(Session.objects.count) == 1
