"""A row of the log holds many events, and stands for each of them: nobody who comes back at one of
its numbers loses or doubles anything. And no event waits long to be stored."""

from __future__ import annotations

import json
import uuid
from itertools import pairwise

import pytest

from chat import event_rows
from chat.delta_rows import Piece, first_number, joined, offset_after
from chat.event_log import LONGEST_WAIT_S, PAUSE_S, SHORTEST_PAUSE_S, pause_after
from chat.event_rows import Pending
from chat.identity import local_user
from chat.models import Event, Generation, Message
from chat.prompt_selectors import logged_tokens
from chat.replay import is_known, replay
from chat.services import turn_start
from chat.turn_records import StartedTurn, TurnPlan

TEXTS = ["Hello", ' "wor', 'ld" ', "\\ 你好", "\n🦙\n", "end."]
TEXT = "".join(TEXTS)


def pieces(first: int = 2) -> list[Piece]:
    """Each text is two tokens."""
    made, offset = list[Piece](), 0
    for number, text in enumerate(TEXTS):
        ids, offsets = [2 * number, 2 * number + 1], [offset, offset + 1]
        made.append(Piece(first + number, offset, text, ids, offsets))
        offset += len(text)
    return made


@pytest.mark.parametrize("begin", range(len(TEXTS)))
def test_a_row_says_where_each_of_its_events_ends(begin: int) -> None:
    its = pieces()[begin:]
    row = json.loads(joined("name", its))
    seq = its[-1].seq
    assert (row["message_id"], row["text"]) == ("name", "".join(TEXTS[begin:]))
    assert row["ids"] == list(range(2 * begin, 2 * len(TEXTS)))
    assert first_number(seq, row) == its[0].seq
    for piece in its:
        assert offset_after(seq, row, piece.seq) == piece.offset + len(piece.text)
    assert offset_after(seq, row, its[0].seq - 1) == its[0].offset
    assert offset_after(seq, row, 0) == its[0].offset


def test_a_row_of_before_is_read_as_it_was() -> None:
    assert "lengths" not in json.loads(joined("name", pieces()[:1]))
    row = {"offset": 7, "text": "four", "ids": [1], "offsets": [0]}
    assert (first_number(5, row), offset_after(5, row, 4), offset_after(5, row, 5)) == (5, 7, 11)


@pytest.fixture
def turn(db: None) -> StartedTurn:
    return turn_start(
        owner_id=local_user().id,
        session_id=None,
        parent_id=None,
        client_id=None,
        text="Hello",
        plan=TurnPlan("chat", [1], {"seed": 1}, {}, "process", "request"),
    )


def store(turn: StartedTurn, cuts: list[int]) -> None:
    """All pieces, in a batch for each span between two cuts."""
    its, stored = pieces(turn.seq + 1), ""
    for begin, end in pairwise([0, *cuts, len(its)]):
        stored += "".join(TEXTS[begin:end])
        batch = [Pending(turn, stored, its[begin:end])]
        assert event_rows.write_texts(batch) == 1
        event_rows.write_events(batch)


@pytest.mark.parametrize("cuts", [[], [1], [3], [2, 4], [1, 2, 3, 4, 5]])
def test_whoever_comes_back_at_any_number_gets_the_rest_to_the_character(
    turn: StartedTurn, cuts: list[int]
) -> None:
    store(turn, cuts)
    assert Event.objects.filter(kind="message.delta").count() == len(cuts) + 1
    ids = {"owner_id": local_user().id, "session_id": turn.session_id}
    last = turn.seq + len(TEXTS)
    for number in range(last + 1):
        assert is_known(session_id=turn.session_id, seq=number, last_seq=last)
        frames, _ = replay(**ids, after=number, until=None)
        seen = "".join(TEXTS[: max(0, number - turn.seq)])
        deltas = [frame for frame in frames if frame["type"] == "message.delta"]
        if number == last:
            assert deltas == []
        else:
            (delta,) = deltas
            assert (delta["seq"], delta["offset"]) == (last, len(seen))
            assert seen + delta["text"] == TEXT
    generation = Generation.objects.get(id=turn.generation_id)
    assert logged_tokens(generation)[0] == list(range(2 * len(TEXTS)))
    assert Message.objects.get(id=turn.message_id).content == TEXT


def test_a_number_that_was_shown_and_never_stored_is_unknown(turn: StartedTurn) -> None:
    """A kill took the last two; the end of the turn has the number that recovery gives it."""
    batch = [Pending(turn, "Hello", pieces(turn.seq + 1)[:4])]
    event_rows.write_events(batch)
    stored = turn.seq + 4
    its = {"session_id": turn.session_id, "generation_id": turn.generation_id}
    Event.objects.create(**its, seq=1_000_000, kind="message.end", payload={"length": 5})
    known = [
        number
        for number in (*range(stored + 5), 999_999, 1_000_000, 1_000_001)
        if is_known(session_id=turn.session_id, seq=number, last_seq=1_000_000)
    ]
    assert known == [*range(stored + 1), 1_000_000]
    assert not is_known(session_id=uuid.uuid4(), seq=2, last_seq=5)


@pytest.mark.parametrize("took", [0.0, 0.001, 0.0125, 0.02, 0.03, 0.045])
def test_no_event_waits_longer_than_promised(took: float) -> None:
    """The one that waits longest comes just after a batch was taken, and goes with the next."""
    assert took + pause_after(took) + took <= LONGEST_WAIT_S + 1e-9
    assert PAUSE_S >= pause_after(took) >= SHORTEST_PAUSE_S


def test_a_database_that_is_too_slow_for_the_promise_is_not_asked_without_a_pause() -> None:
    assert pause_after(0.06) == pause_after(10.0) == SHORTEST_PAUSE_S
    assert pause_after(0.0) == PAUSE_S
