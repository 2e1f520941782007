"""Whether a reader got all of an answer, once and in order, as the site has stored it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

NUMBERED = ("turn.started", "message.delta", "message.end")


@dataclass(slots=True)
class Transcript:
    """What one reader saw of one answer. faults: what was wrong with its frames, in words."""

    session_id: str = ""
    text: str = ""
    seq: int = 0
    faults: list[str] = field(default_factory=list)

    def apply(self, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        if kind not in NUMBERED:
            return
        number = frame["seq"]
        if number <= self.seq:
            self.faults.append(f"{kind} {number} came after {self.seq}")
        if kind == "turn.started":
            self.session_id = frame["session_id"]
        elif kind == "message.delta":
            if frame["offset"] != len(self.text):
                self.faults.append(f"text at {frame['offset']} came after {len(self.text)}")
            self.text = self.text[: frame["offset"]] + frame["text"]
        else:
            if number != self.seq + 1:
                self.faults.append(f"the end {number} came after {self.seq}")
            if frame["length"] != len(self.text):
                self.faults.append(f"{len(self.text)} of {frame['length']} characters came")
        self.seq = number

    def compare(self, stored: str | None) -> None:
        """With the text in the record; None where there is none."""
        if stored != self.text:
            self.faults.append("the record has another text")


def verdict(transcripts: list[Transcript]) -> dict[str, Any]:
    """For a report, ready for JSON. The first faults are told in words."""
    wrong = [each for each in transcripts if each.faults]
    return {
        "checked": len(transcripts),
        "complete": len(transcripts) - len(wrong),
        "faults": [fault for each in wrong for fault in each.faults][:10],
    }
