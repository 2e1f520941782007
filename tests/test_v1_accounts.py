"""The API with accounts: by a token, in either client's header, charged to its owner."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.test import AsyncClient
from django.utils import timezone

from chat.accounts import tokens
from chat.accounts.tokens import Scope
from chat.database import in_database
from chat.models import ApiToken, Message, Usage, User
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

SAID = {"model": "chat", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
async def token(site: FakeEngine, settings: Any) -> str:
    settings.TINYLLM_LOCAL = False
    settings.SECURE_SSL_REDIRECT = False

    def made() -> str:
        ada = User.objects.create_user("ada")
        return tokens.token_create(owner=ada, name="t", scopes=[Scope.CHAT])[1]

    return await in_database(made)


async def asked(path: str, **headers: str) -> Any:
    return await AsyncClient().post(
        path, json.dumps(SAID), content_type="application/json", headers=headers
    )


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/tokenize"])
async def test_nobody_is_answered_without_a_token(token: str, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer tl-wrong"}, {"x-api-key": "tl-wrong"}):
        answer = await asked(path, **headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["message"]


async def test_a_token_that_has_expired_or_was_revoked_says_so(
    site: FakeEngine, token: str
) -> None:
    for fields, code in (
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, "token_expired"),
        ({"expires_at": None, "revoked_at": timezone.now()}, "token_revoked"),
    ):
        await in_database(partial(ApiToken.objects.update, **fields))
        answer = await asked("/v1/chat/completions", authorization=f"Bearer {token}")
        error = answer.json()["error"]
        assert (answer.status_code, error["type"], error["code"]) == (
            401,
            "authentication_error",
            code,
        )
    assert site.requests == []


async def test_a_token_opens_it_in_either_header_and_is_charged(
    site: FakeEngine, token: str
) -> None:
    answer = await asked("/v1/chat/completions", authorization=f"Bearer {token}")
    usage = answer.json()["usage"]
    assert answer.status_code == 200
    assert (await asked("/v1/messages", **{"x-api-key": token})).status_code == 200
    row = await in_database(Usage.objects.get)
    assert (row.turns, row.prompt_tokens) == (2, 2 * usage["prompt_tokens"])
    assert row.output_tokens == 2 * usage["completion_tokens"]
    assert {request.tenant for request in site.requests} == {str(row.user_id)}
    assert await in_database(Message.objects.count) == 0


async def test_who_has_used_up_the_day_is_told_when_to_come_back(
    site: FakeEngine, token: str, settings: Any
) -> None:
    settings.TINYLLM_TOKENS_PER_DAY = 5
    answer = await asked("/v1/chat/completions", authorization=f"Bearer {token}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "quota_exceeded")
    assert int(answer["Retry-After"]) > 0
    assert answer["x-ratelimit-limit-tokens"] == "5"
    assert site.requests == []
