"""The database that the list of sessions is measured on is one that the site can read."""

from __future__ import annotations

import pytest
from django.db import connection

from chat.identity import local_user
from chat.search import search
from chat.selectors import conversation
from chat.session_benchmark import PER_SESSION, RARE, fill
from chat.session_pages import session_page

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sqlite]


def test_what_is_filled_in_is_listed_found_and_shown() -> None:
    told: list[str] = []
    fill(3 * PER_SESSION, told.append)
    connection.close()  # with what it does for speed
    assert told == [f"{3 * PER_SESSION} messages"]
    owner = local_user().id
    page = session_page(owner_id=owner)
    assert len(page) == 3
    shown = conversation(owner_id=owner, session_id=page[0].id)
    assert len(shown.messages) == PER_SESSION
    assert [hit.match for hit in search(owner_id=owner, query=RARE)] == [RARE]
