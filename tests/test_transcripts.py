"""What a reader of a benchmark notices: a gap, a repetition, an early end, another record."""

from __future__ import annotations

from typing import Any

from inference.transcripts import Transcript, verdict

FRAMES: list[dict[str, Any]] = [
    {"type": "session.opened", "seq": 9},
    {"type": "turn.started", "seq": 1, "session_id": "s"},
    {"type": "message.delta", "seq": 2, "offset": 0, "text": "Half "},
    {"type": "message.delta", "seq": 5, "offset": 5, "text": "an answer"},
    {"type": "message.end", "seq": 6, "length": 14},
]


def read(frames: list[dict[str, Any]], stored: str | None = "Half an answer") -> list[str]:
    its = Transcript()
    for frame in frames:
        its.apply(frame)
    its.compare(stored)
    return its.faults


def test_all_of_an_answer_in_order_has_no_fault() -> None:
    assert read(FRAMES) == []


def test_each_fault_is_said() -> None:
    assert read([*FRAMES[:2], *FRAMES[3:]], "an answer") == [
        "text at 5 came after 0",
        "9 of 14 characters came",
    ]
    assert read([*FRAMES[:3], FRAMES[2], *FRAMES[3:]])[0] == "message.delta 2 came after 2"
    assert read([*FRAMES[:3], FRAMES[4]], "Half ")[0] == "the end 6 came after 2"
    assert read(FRAMES, "Half an answer.") == ["the record has another text"]
    assert read(FRAMES, None) == ["the record has another text"]


def test_a_verdict_counts_and_quotes() -> None:
    whole, torn = Transcript(), Transcript(faults=["text at 5 came after 0"])
    assert verdict([whole, torn]) == {
        "checked": 2,
        "complete": 1,
        "faults": ["text at 5 came after 0"],
    }
