"""What a turn costs the database: each query stands between a person and the first token."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

import pytest

from chat import event_rows, services
from chat.delta_rows import Piece
from chat.event_rows import MOST_ROWS, Pending
from chat.identity import local_user
from chat.models import Event, Generation, Message, Preset, Quota
from chat.outcome import Outcome
from chat.selectors import turn_of_client_id
from chat.session_settings.presets import default_settings
from chat.turn_records import StartedTurn, TurnPlan
from chat.usage import Limits, limits_of
from inference.types import Began
from tests.fake_engine import SETUP

pytestmark = pytest.mark.django_db

Counted = Callable[[int], AbstractContextManager[Any]]
PLAN = TurnPlan("chat", [1, 2], {"seed": 1}, {}, "process", "request")


def start(owner: uuid.UUID, session: uuid.UUID | None = None) -> StartedTurn:
    return services.turn_start(
        owner_id=owner,
        session_id=session,
        parent_id=None,
        client_id=uuid.uuid4().hex,
        text="Hello",
        plan=PLAN,
    )


def finish(turn: StartedTurn) -> None:
    outcome = Outcome("DONE", "Hello", [1], [0])
    services.turn_finish(turn=turn, process="process", seq=turn.seq + 1, outcome=outcome)


def test_a_turn_s_queries(django_assert_num_queries: Counted) -> None:
    owner = local_user().id
    with django_assert_num_queries(1):
        assert turn_of_client_id(owner_id=owner, client_id="none") is None
    # two of each are the savepoint that stands for the transaction
    # of the others, one asks whether anybody has a quota, without the ORM
    with django_assert_num_queries(7):
        turn = start(owner)
    # two of them write what a search looks in, one charges the owner
    with django_assert_num_queries(9):
        finish(turn)
    with django_assert_num_queries(9):
        start(owner, turn.session_id)


def test_a_turn_s_queries_where_there_are_limits(django_assert_num_queries: Counted) -> None:
    owner = local_user().id
    Quota.objects.create(user_id=owner, tokens_per_day=100, concurrent_turns=2)
    # whether anybody has a quota, who runs, what is used, and the reservation
    with django_assert_num_queries(11):
        turn = start(owner)
    with django_assert_num_queries(9):
        finish(turn)


def test_a_batch_of_the_log_is_two_statements_for_up_to_a_hundred_turns(
    django_assert_num_queries: Counted,
) -> None:
    owner = local_user().id
    turns = [start(owner) for _ in range(20)]
    batch = [
        Pending(
            turn,
            "ab",
            [Piece(turn.seq + 1, 0, "a", [7], [0]), Piece(turn.seq + 2, 1, "b", [8], [1])],
        )
        for turn in turns
    ]
    with django_assert_num_queries(2):
        assert event_rows.write_texts(batch) == 20
        event_rows.write_events(batch)
    first = [Pending(turn, "", began=Began(SETUP, deterministic=True)) for turn in turns]
    with django_assert_num_queries(1):
        event_rows.write_beginnings([*first[:15], Pending(turns[15], "")])
    assert Generation.objects.filter(engine=asdict(SETUP), deterministic=True).count() == 15
    assert Event.objects.filter(kind="message.delta").count() == 20, "a row for each turn"
    assert Message.objects.filter(content="ab").count() == 20
    row = Event.objects.get(session_id=turns[3].session_id, kind="message.delta")
    assert (row.seq, row.payload["lengths"], row.payload["ids"]) == (3, [1, 1], [7, 8])


@pytest.mark.parametrize(("turns", "statements"), [(100, 2), (101, 3), (205, 6)])
def test_more_turns_than_a_statement_takes_are_all_stored(
    django_assert_num_queries: Counted, turns: int, statements: int
) -> None:
    """An old SQLite takes 999 values, and one more turn than that would be refused with all the
    others. One of the messages is gone meanwhile."""
    assert MOST_ROWS * 6 <= 999
    started = [start(local_user().id) for _ in range(turns)]
    Message.objects.get(id=started[-1].message_id).delete()
    batch = [
        Pending(turn, f"text {n}", [Piece(turn.seq + 1, 0, f"text {n}", [n], [0])])
        for n, turn in enumerate(started)
    ]
    kept = batch[:-1]
    with django_assert_num_queries(statements):
        assert event_rows.write_texts(batch) == turns - 1
        event_rows.write_events([*kept, Pending(started[0], "says nothing new")])
    found = dict(Message.objects.filter(role="assistant").values_list("id", "content"))
    assert found == {its.turn.message_id: its.content for its in kept}
    asked = Message.objects.filter(role="user").values_list("content", flat=True)
    assert set(asked) == {"Hello"}, "nobody else's text is touched"
    rows = Event.objects.filter(kind="message.delta")
    stored = [(row.session_id, row.generation_id, row.seq, row.payload["text"]) for row in rows]
    assert sorted(stored) == sorted(
        (its.turn.session_id, its.turn.generation_id, its.pieces[0].seq, its.content)
        for its in kept
    )


def test_what_few_sites_have_is_not_looked_for_in_an_empty_table(
    django_assert_num_queries: Counted,
) -> None:
    """The ORM makes its statement anew each time, for longer than the database needs."""
    owner = local_user().id
    with django_assert_num_queries(2) as seen:
        assert default_settings(owner_id=owner) == {}
        assert limits_of(owner_id=owner) == Limits(None, None)
    assert [query["sql"] for query in seen.captured_queries] == [
        'SELECT 1 FROM "chat_preset" LIMIT 1',
        'SELECT 1 FROM "chat_quota" LIMIT 1',
    ]
    Preset.objects.create(owner_id=owner, name="mine", settings={"seed": 7}, is_default=True)
    Quota.objects.create(user_id=owner, tokens_per_day=100)
    assert default_settings(owner_id=owner) == {"seed": 7}
    assert limits_of(owner_id=owner) == Limits(100, None)
