"""Readers of a served session, over a websocket or as server-sent events, who come back with the
last number they have; and the database of the same run, which says what was true."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx
from websockets.asyncio.client import connect

from chat.packing import unpack
from tests.chat_client import Frame, Shown, pieces_of
from tests.server_process import ServerProcess

HANG = 90


class Reader:
    """One answer as it arrives, over any number of connections. lengths: by the number of each
    delta, how long the text was after it."""

    def __init__(self, server: ServerProcess) -> None:
        self.server, self.shown = server, Shown()
        self.session_id = self.message_id = ""
        self.end: Frame | None = None
        self.lengths: dict[int, int] = {}

    @property
    def text(self) -> str:
        return self.shown.texts.get(self.message_id, "")

    async def submit(self, text: str, **sampling: Any) -> None:
        """Send a message, and leave as soon as its turn has begun."""
        asked = {"client_id": uuid.uuid4().hex, "text": text, "session_id": None, "model": "tiny"}
        async with connect(self.server.socket_url) as line:
            await line.send(
                json.dumps({"v": 1, "type": "turn.submit", **asked, "sampling": sampling})
            )
            await self._until_started(line)

    async def go_on(self) -> None:
        """Have the answer continued, and leave as soon as that has begun."""
        self.end = None
        ids = {"session_id": self.session_id, "message_id": self.message_id}
        async with connect(self.server.socket_url) as line:
            await line.send(json.dumps({"v": 1, "type": "turn.continue", **ids}))
            await self._until_started(line)

    async def stop(self) -> None:
        async with connect(self.server.socket_url) as line:
            await line.recv()
            await line.send(
                json.dumps({"v": 1, "type": "turn.stop", "session_id": self.session_id})
            )

    def begin_again(self, content: str) -> None:
        """As a page does that has to fetch the conversation again."""
        self.shown = Shown()
        self.shown.texts[self.message_id] = content
        self.lengths.clear()

    async def read(self, deltas: int | None = None) -> Frame:
        """Open the session where this reader left it, and read so many deltas or to the end of
        the turn; then the connection is cut without a word. Returns the last frame."""
        line = await connect(self.server.socket_url, max_size=None)
        frame: Frame = {}
        try:
            opened = {"v": 1, "type": "session.open", "session_id": self.session_id}
            await line.send(json.dumps({**opened, "after": self.shown.seq}))
            while not self._is_enough(frame, deltas):
                frame = json.loads(await asyncio.wait_for(line.recv(), HANG))
                deltas = self._take(frame, deltas)
        finally:
            line.transport.abort()
        return frame

    async def read_events(self, deltas: int | None = None) -> Frame:
        """The same as server-sent events."""
        url = f"{self.server.url}/api/sessions/{self.session_id}/events"
        headers = {"Last-Event-ID": str(self.shown.seq)}
        frame: Frame = {}
        async with (
            httpx.AsyncClient(timeout=HANG) as client,
            client.stream("GET", url, headers=headers) as answer,
            aclosing(_sent(answer)) as frames,
        ):
            async for frame in frames:
                deltas = self._take(frame, deltas)
                if self._is_enough(frame, deltas):
                    break
        return frame

    async def _until_started(self, line: Any) -> None:
        frame: Frame = {}
        while frame.get("type") != "turn.started":
            frame = json.loads(await asyncio.wait_for(line.recv(), HANG))
            assert frame["type"] != "error", frame
            self._take(frame, None)
        self.session_id, self.message_id = frame["session_id"], frame["message"]["id"]

    def _take(self, frame: Frame, deltas: int | None) -> int | None:
        if frame["type"] not in ("turn.started", "message.delta", "message.end"):
            return deltas  # its number is not this reader's
        self.shown.apply(frame)
        if frame["type"] == "message.end":
            self.end = frame
        if frame["type"] != "message.delta":
            return deltas
        self.lengths[frame["seq"]] = len(self.text)
        return None if deltas is None else deltas - 1

    @staticmethod
    def _is_enough(frame: Frame, deltas: int | None) -> bool:
        kind = frame.get("type")
        return kind in ("message.end", "session.reset", "error") or deltas == 0


async def _sent(answer: httpx.Response) -> AsyncGenerator[Frame, None]:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def row_of(reader: Reader) -> dict[str, Any]:
    """content: of the message; log: (seq, kind, payload) of every event of its session;
    generations: (status, prompt ids, output ids), oldest first."""
    key = {"session": uuid.UUID(reader.session_id).hex, "message": _hex(reader.message_id)}
    rows = reader.server.rows
    ((content,),) = rows("select content from chat_message where id = :message", key)
    log = rows(
        "select seq, kind, payload from chat_event where session_id = :session order by seq", key
    )
    generations = rows(
        "select status, prompt_ids, output_ids from chat_generation where message_id = :message "
        "order by created_at",
        key,
    )
    return {
        "content": content,
        "log": [(seq, kind, json.loads(payload)) for seq, kind, payload in log],
        "generations": [(status, unpack(p), unpack(o)) for status, p, o in generations],
    }


def assert_true(reader: Reader) -> dict[str, Any]:
    """What the reader was shown is what the log says and what the message holds, to the byte, with
    every number once and upwards. Returns `row_of`."""
    row = row_of(reader)
    assert reader.shown.seqs == sorted(set(reader.shown.seqs)), "a number was shown twice"
    text, seqs = "", list[int]()
    for seq, kind, payload in row["log"]:
        if kind != "message.delta":
            seqs.append(seq)
            continue
        assert payload["offset"] == len(text), "the log has a gap, or text twice"
        for number, piece in pieces_of(seq, payload):
            seqs.append(number)
            text += piece
            shown = reader.lengths.get(number, len(text))
            assert shown == len(text), "a number stands for different texts"
    assert seqs == sorted(set(seqs)), "the log has a number twice"
    assert set(reader.shown.seqs) <= set(seqs), "a number was shown that the log does not have"
    assert reader.text == row["content"] == text
    return row


def logged_ids(row: dict[str, Any]) -> list[int]:
    return [
        token
        for _, kind, payload in row["log"]
        if kind == "message.delta"
        for token in payload["ids"]
    ]


def _hex(name: str) -> str:
    return uuid.UUID(name).hex
