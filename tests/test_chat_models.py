"""The record: constraints that hold in the database itself."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection

from chat.models import Generation, Message, Session
from chat.packing import pack, unpack


@pytest.mark.django_db
def test_one_live_turn_per_session(make_user: Any) -> None:
    session = Session.objects.create(owner=make_user("ada"), model="chat")
    message = Message.objects.create(session=session, role="assistant")
    first = Generation.objects.create(session=session, message=message, model="chat")
    with pytest.raises(IntegrityError):
        Generation.objects.create(session=session, message=message, model="chat")
    assert first.status == "RUNNING"


@pytest.mark.django_db
def test_a_finished_turn_makes_room_for_the_next(make_user: Any) -> None:
    session = Session.objects.create(owner=make_user("ada"), model="chat")
    message = Message.objects.create(session=session, role="assistant")
    for _ in range(3):
        Generation.objects.create(session=session, message=message, model="chat", status="DONE")
    Generation.objects.create(session=session, message=message, model="chat")
    assert session.generations.count() == 4


@pytest.mark.django_db
def test_sqlite_runs_in_wal_mode_with_normal_synchronisation() -> None:
    with connection.cursor() as cursor:
        assert cursor.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert cursor.execute("PRAGMA synchronous").fetchone() == (1,)


def test_packing_keeps_every_uint32_in_little_endian_order() -> None:
    ids = [0, 1, 255, 256, 49151, 2**32 - 1]
    assert pack(ids)[4:8] == b"\x01\x00\x00\x00"
    assert unpack(pack(ids)) == ids
    assert unpack(pack([])) == []
