"""A session that several tests look at: its answer is written once."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import BrowserContext

from tests.browser.conftest import Chat, Site


def asked_once(
    site: Site, question: str, then: Callable[[Chat], None] = lambda _: None
) -> Callable[[BrowserContext], str]:
    """The path of a session in which the question has been answered, for all tests that share it.
    then: what is done to it before it is shown."""
    paths: list[str] = []

    def path(context: BrowserContext) -> str:
        if not paths:
            chat = Chat.open(context, site)
            chat.send(question)
            chat.wait_end()
            then(chat)
            paths.append(chat.path)
            chat.page.close()
        return paths[0]

    return path
