"""What the client package makes of frames, without any connection."""

from __future__ import annotations

from typing import Any

import pytest

from chat.client import ApiError, ConnectionLost, Event, Text
from chat.client.turn import Turn, submission


def started(turn: Turn, **fields: Any) -> None:
    message = {"id": "m", "text": ""}
    its = {"session_id": "s", "message": message, "user_message": None, "title": ""}
    turn.take({"type": "turn.started", "seq": 7, "continued": False, **its, **fields})


def delta(turn: Turn, seq: int, offset: int, text: str) -> Event | None:
    its = {"seq": seq, "offset": offset, "text": text, "message_id": "m"}
    return turn.take({"type": "message.delta", **its})


def test_what_comes_twice_is_told_once_and_a_gap_is_an_error() -> None:
    turn = submission("Hello", {}, None)
    assert turn.opening()["type"] == "turn.submit"
    assert turn.opening() == turn.opening()
    started(turn)
    assert delta(turn, 8, 0, "one ") == Text("one ")
    assert turn.opening() == {"v": 1, "type": "session.open", "session_id": "s", "after": 8}
    assert delta(turn, 9, 0, "one two ") == Text("two ")
    assert delta(turn, 9, 0, "one ") is None
    with pytest.raises(ApiError, match="3 characters are missing"):
        delta(turn, 12, 11, "four")


def test_after_a_reset_an_answer_is_read_from_its_beginning() -> None:
    turn = submission("Hello", {}, None)
    started(turn)
    delta(turn, 8, 0, "one ")
    turn.take({"type": "session.reset", "seq": 1_000_000})
    assert turn.must_reopen
    assert turn.opening()["after"] == 6
    assert delta(turn, 8, 0, "one ") is None
    with pytest.raises(ApiError, match="no longer"):
        turn.take({"type": "session.reset", "seq": 1_000_000})


def test_what_cannot_be_asked_twice_is_not() -> None:
    turn = Turn("turn.continue", session_id="s", message_id="m")
    turn.opening()
    with pytest.raises(ConnectionLost):
        turn.opening()
