"""A page without a browser: it opens the websocket, applies frames, and knows what it shows."""

from __future__ import annotations

import json
import uuid
from types import TracebackType
from typing import Any

from channels.testing import WebsocketCommunicator

Frame = dict[str, Any]
LOOPBACK_HEADERS = [(b"host", b"localhost:3000"), (b"origin", b"http://localhost:3000")]


def communicator(
    headers: list[tuple[bytes, bytes]] | None = None,
    *,
    client: str = "127.0.0.1",
    server: str = "127.0.0.1",
) -> WebsocketCommunicator:
    from tinyllm_site.asgi import application

    made = WebsocketCommunicator(
        application, "/ws/chat/", LOOPBACK_HEADERS if headers is None else headers
    )
    made.scope.update(client=[client, 50000], server=[server, 3000])
    return made


class Shown:
    """What a page shows: each answer's text and blocks, put together from frames alone."""

    def __init__(self) -> None:
        self.seq = 0
        self.texts: dict[str, str] = {}
        self.blocks: dict[str, list[str]] = {}
        self.seqs: list[int] = []

    def apply(self, frame: Frame) -> None:
        kind = frame["type"]
        if kind in ("turn.started", "message.delta", "message.end"):
            self.seqs.append(frame["seq"])
        if kind == "turn.started" and frame["message"].get("text"):
            self.texts[frame["message"]["id"]] = frame["message"]["text"]
        if kind == "message.delta":
            text = self.texts.get(frame["message_id"], "")
            assert frame["offset"] <= len(text), "a gap: text is missing before this delta"
            assert frame["offset"] == len(text), "text came twice"
            self.texts[frame["message_id"]] = text + frame["text"]
        if "blocks" in frame:
            blocks = self.blocks.setdefault(frame["message_id"], [])
            assert frame["blocks"]["from"] <= len(blocks)
            blocks[frame["blocks"]["from"] :] = frame["blocks"]["html"]
        if "seq" in frame:
            self.seq = frame["seq"]


PATIENCE_S = 60
"""How long an answer may take where other tests use the cores as well."""


class Page:
    """`async with Page() as page`: connected, `ready` read. `shown` outlives the connection."""

    def __init__(self, shown: Shown | None = None) -> None:
        self.shown = shown or Shown()
        self.socket = communicator()

    async def __aenter__(self) -> Page:
        connected, _ = await self.socket.connect(timeout=PATIENCE_S)
        assert connected
        assert (await self.receive())["type"] == "ready"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.socket.disconnect()

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send_to(text_data=json.dumps({"v": 1, "type": kind, **fields}))

    async def submit(self, text: str, **fields: Any) -> str:
        given = {"client_id": uuid.uuid4().hex, "session_id": None, "parent_id": None, **fields}
        await self.send("turn.submit", text=text, model=given.pop("model", "chat"), **given)
        name: str = given["client_id"]
        return name

    async def receive(self) -> Frame:
        frame: Frame = json.loads(await self.socket.receive_from(timeout=PATIENCE_S))
        self.shown.apply(frame)
        return frame

    async def until(self, *kinds: str) -> Frame:
        """Read and apply frames up to the first of these types."""
        while True:
            frame = await self.receive()
            if frame["type"] in kinds:
                return frame
            assert frame["type"] != "error", frame

    async def until_error(self) -> Frame:
        while (frame := await self.receive())["type"] != "error":
            pass
        return frame


def pieces_of(seq: int, payload: dict[str, Any]) -> list[tuple[int, str]]:
    """The events of a row of the log, with their numbers."""
    lengths = payload.get("lengths", [len(payload["text"])])
    ends = [sum(lengths[: count + 1]) for count in range(len(lengths))]
    texts = [payload["text"][end - length : end] for end, length in zip(ends, lengths, strict=True)]
    return list(enumerate(texts, start=seq - len(lengths) + 1))
