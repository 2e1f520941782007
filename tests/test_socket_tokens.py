"""A websocket of a program: opened by an API token, and closed with the right to it."""

from __future__ import annotations

import pytest

from chat.accounts import tokens
from chat.accounts.tokens import Scope
from chat.consumers import SIGNED_OUT
from chat.database import in_database
from chat.models import ApiToken, User
from tests.chat_client import PATIENCE_S, Page, communicator
from tests.test_chat_permissions import Scene, scene

__all__ = ["scene"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

CLOSED = {"type": "websocket.close", "code": SIGNED_OUT}


async def made(name: str, *scopes: Scope) -> tuple[ApiToken, str]:
    owner = await User.objects.aget(username=name)
    return await in_database(
        lambda: tokens.token_create(owner=owner, name="program", scopes=scopes)
    )


def page_with(text: str) -> Page:
    page = Page()
    page.socket = communicator(
        [(b"host", b"testserver"), (b"authorization", f"Bearer {text}".encode())]
    )
    return page


async def test_it_opens_what_its_owner_may_see_and_no_more(scene: Scene) -> None:
    _, mine = await made("owner", Scope.CHAT)
    async with page_with(mine) as page:
        await page.send("session.open", session_id=str(scene.ids["session_id"]), after=0)
        await page.until("message.end")
        await page.submit("Hi")
        await page.until("message.end")
    _, others = await made("other", Scope.CHAT)
    async with page_with(others) as page:
        await page.send("session.open", session_id=str(scene.ids["session_id"]), after=0)
        assert (await page.until_error())["code"] == "session_not_found"


@pytest.mark.parametrize("scope", [Scope.READ, None])
async def test_one_that_may_not_write_or_is_unknown_is_told_to_sign_in(
    scene: Scene, scope: Scope | None
) -> None:
    text = (await made("owner", scope))[1] if scope else "tl-unknown"
    page = page_with(text)
    assert (await page.socket.connect(timeout=PATIENCE_S))[0] is True
    assert await page.socket.receive_output(timeout=PATIENCE_S) == CLOSED


async def test_it_ends_when_its_token_is_revoked(scene: Scene) -> None:
    row, text = await made("owner", Scope.CHAT)
    _, another = await made("owner", Scope.CHAT)
    owner = await User.objects.aget(username="owner")
    page, other = page_with(text), page_with(another)
    for each in (page, other):
        await each.__aenter__()
    await in_database(lambda: tokens.token_revoke(owner=owner, token_id=row.pk))
    assert await page.socket.receive_output(timeout=PATIENCE_S) == CLOSED
    await other.submit("Hi")
    await other.until("message.end")
    for each in (page, other):
        await each.socket.disconnect()


async def test_one_that_has_expired_is_noticed_without_anybody_telling(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.consumers.CHECK_EVERY_S", 0.01)
    row, text = await made("owner", Scope.CHAT)
    page = page_with(text)
    await page.__aenter__()
    await ApiToken.objects.filter(pk=row.pk).aupdate(expires_at=row.created_at)
    assert await page.socket.receive_output(timeout=PATIENCE_S) == CLOSED
    await page.socket.disconnect()
