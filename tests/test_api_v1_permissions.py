"""The stored API with accounts: its owner, others, nobody, tokens with scopes, and forged forms."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import AsyncClient

from chat.accounts import tokens
from chat.accounts.tokens import Scope
from chat.api_v1.api import api
from chat.database import in_database
from chat.models import Generation, Message, Session, User
from tests.test_chat_permissions import Scene, scene
from tests.test_content_policy import NO_PAGE, policy_of

__all__ = ["scene"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

_S = "/api/v1/sessions/{session_id}"
_M = _S + "/messages/{message_id}"
# What other members get who know every id; nobody gets more than 401 of any of them.
OTHERS = {
    f"get {_S}": 404,
    f"patch {_S}": 404,
    f"delete {_S}": 404,
    f"put {_S}/branch": 404,
    f"get {_S}/settings": 404,
    f"put {_S}/settings": 404,
    f"get {_S}/messages": 404,
    f"post {_S}/messages": 404,
    f"post {_S}/stop": 404,
    f"get {_S}/events": 404,
    f"post {_S}/shares": 404,
    f"get {_M}": 404,
    f"post {_M}/edit": 404,
    f"post {_M}/regenerate": 404,
    f"post {_M}/continue": 404,
    f"post {_M}/fork": 404,
    f"put {_M}/rating": 404,
    f"delete {_M}/rating": 404,
    "get /api/v1/generations/{generation_id}": 404,
    "get /api/v1/sessions": 200,
    "post /api/v1/sessions": 201,
    "get /api/v1/search": 200,
    "get /api/v1/shares": 200,
    "delete /api/v1/shares/{link_id}": 404,
    "get /api/v1/usage": 200,
}
BODY = {"input": "Mine", "value": 1, "settings": {}, "title": "Mine"}


def test_every_endpoint_is_in_the_matrix() -> None:
    paths = api.get_openapi_schema()["paths"]
    ours = {path: paths[path] for path in paths if path.startswith("/api/v1/")}
    assert {f"{method} {path}" for path in ours for method in ours[path]} == set(OTHERS)


async def ask(client: AsyncClient, asked: str, ids: dict[str, Any], **headers: str) -> Any:
    method, path = asked.split(" ")
    path = path.format(**ids) + ("?q=Secret" if path.endswith("/search") else "")
    writes = method in ("post", "put", "patch")
    text = json.dumps({**BODY, "message_id": str(ids["message_id"])}) if writes else ""
    kind = "application/json" if writes else ""
    return await client.generic(method.upper(), path, text, kind, headers=headers)


async def ids_of(scene: Scene) -> dict[str, Any]:
    generation = await in_database(lambda: Generation.objects.get().id)
    return {**scene.ids, "generation_id": generation}


async def token_of(name: str, *scopes: Scope) -> dict[str, str]:
    def make() -> str:
        owner = User.objects.get(username=name)
        return tokens.token_create(owner=owner, name="t", scopes=scopes)[1]

    return {"authorization": f"Bearer {await in_database(make)}"}


@pytest.mark.parametrize("person", ["other", "superuser", "anonymous"])
async def test_what_is_another_s_does_not_exist(scene: Scene, person: str) -> None:
    ids = await ids_of(scene)
    for asked, expected in OTHERS.items():
        answer = await ask(scene.clients[person], asked, ids)
        assert answer.status_code == (401 if person == "anonymous" else expected), asked
        assert b"Secret" not in answer.content, asked
        assert policy_of(answer) == NO_PAGE, asked
    assert await in_database(Message.objects.count) == 2


async def test_the_owner_is_answered_everywhere(scene: Scene) -> None:
    ids = await ids_of(scene)
    # of an answer that is complete, and not of the user's; the last one ends all the others
    refused = {f"post {_M}/continue": 409, f"post {_M}/edit": 400}
    last = f"delete {_S}"
    for asked in [*(each for each in OTHERS if each != last), last]:
        answer = await ask(scene.clients["owner"], asked, ids)
        expected = refused.get(asked, answer.status_code)
        assert answer.status_code == expected, asked
        assert asked in refused or expected < 300, asked
        if answer.streaming:
            await answer.streaming_content.aclose()
            answer.close()


async def test_a_token_opens_what_its_scopes_say(scene: Scene) -> None:
    ids, nobody = await ids_of(scene), AsyncClient()
    read, write = await token_of("owner", Scope.READ), await token_of("owner", Scope.CHAT)
    title = {"get": f"get {_S}", "patch": f"patch {_S}"}
    assert (await ask(nobody, title["get"], ids, **read)).status_code == 200
    refused = await ask(nobody, title["patch"], ids, **read)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "token_scope_missing")
    assert (await ask(nobody, title["patch"], ids, **write)).status_code == 200
    other = await token_of("other", Scope.READ, Scope.CHAT)
    assert (await ask(nobody, title["get"], ids, **other)).status_code == 404


async def test_a_forged_form_is_refused(scene: Scene) -> None:
    client = AsyncClient(enforce_csrf_checks=True)
    await client.aforce_login(await User.objects.aget(username="owner"))
    answer = await ask(client, f"delete {_S}", await ids_of(scene))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")
    assert await in_database(Session.objects.count) == 1
