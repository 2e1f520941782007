"""Where texts are encrypted: a search of the newest in memory, and nothing in the index."""

from __future__ import annotations

from typing import Any

import pytest

from chat.encryption import search as looking
from chat.models import Message, Session, User
from chat.search import search
from tests.test_encryption import encrypted

__all__ = ["encrypted"]

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_search_reads_the_newest_of_its_owner(
    encrypted: Any, make_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, other = make_user("ada"), make_user("other")

    def say(owner: User, *texts: str, **fields: Any) -> None:
        session = Session.objects.create(owner=owner, model="chat", title="面包", **fields)
        for text in texts:
            Message.objects.create(session=session, role="user", content=text)

    say(ada, "first 面条", "nothing", "second 面条 with RYE")
    say(other, "not mine 面条")
    gone = Session.objects.create(owner=ada, model="chat", deleted_at="2026-01-01T00:00:00Z")
    Message.objects.create(session=gone, role="user", content="面条")

    def finds(query: str) -> list[str]:
        return [hit.before + hit.match + hit.after for hit in search(owner_id=ada.id, query=query)]

    assert finds("面") == ["面包", "second 面条 with RYE", "first 面条"]
    assert finds("面条") == ["second 面条 with RYE", "first 面条"]
    assert finds("rye") == ["second 面条 with RYE"]
    assert finds("(") == []
    monkeypatch.setattr(looking, "ROWS", 1)
    monkeypatch.setattr(looking, "MOST", 1)
    assert finds("面条") == ["second 面条 with RYE"]
    monkeypatch.setattr(looking, "NEWEST", 1)
    assert finds("first") == []
