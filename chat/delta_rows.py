"""What an answer said between two batches of the log: many events, one row (ADR 32).

The row has the number of its last event, and the length of each one's text. So a reader who has
seen any of them is known, and gets what follows to the character.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring as quoted
from typing import Any, NamedTuple

KIND = "message.delta"


class Piece(NamedTuple):
    """Event `seq`: text that begins at `offset` of the message's, and the tokens that it is made
    of, which begin at `offsets` of the turn's own text."""

    seq: int
    offset: int
    text: str
    ids: list[int]
    offsets: list[int]


def joined(message_id: object, pieces: Sequence[Piece]) -> str:
    """The payload of the row that holds these events, which follow each other, as JSON. Written
    out, since this is what a site with many readers stores most."""
    text = "".join([piece.text for piece in pieces])
    payload = f'{{"message_id":"{message_id}","offset":{pieces[0].offset},"text":{quoted(text)}'
    if len(pieces) > 1:
        payload += f',"lengths":{[len(piece.text) for piece in pieces]}'
    ids = [token for piece in pieces for token in piece.ids]
    offsets = [offset for piece in pieces for offset in piece.offsets]
    return payload + f',"ids":{ids},"offsets":{offsets}}}'


def first_number(seq: int, payload: Mapping[str, Any]) -> int:
    """Of the events in row `seq`."""
    return seq - len(_lengths(payload)) + 1


def offset_after(seq: int, payload: Mapping[str, Any], after: int) -> int:
    """Where the text of row `seq` goes on for a reader who has all events up to `after`."""
    seen = max(0, after - first_number(seq, payload) + 1)
    return int(payload["offset"]) + sum(_lengths(payload)[:seen])


def _lengths(payload: Mapping[str, Any]) -> list[int]:
    return payload.get("lengths") or [len(payload["text"])]
