"""A client that opens the websocket and then does not read, on a socket that takes little; and an
engine whose answers are far larger than what may wait for it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from chat import live_blocks, site_socket
from inference.types import GenerateRequest
from tests.fake_engine import FakeEngine, Step, prompt_text

PIECES = 150
PIECE = "a paragraph that has no end and is shown again with each word " * 40


def build() -> FakeEngine:
    """`TINYLLM_ENGINE_FACTORY`. One paragraph, of which each frame carries all that there is: over
    25 megabytes in frames for a third of one in text. A reader is given up after a second."""
    site_socket.STALLED_S, live_blocks.SHARE = 1.0, 1e9
    return FakeEngine(_script, delay=0.03)


def _script(request: GenerateRequest) -> Iterator[Step]:
    if "short" in prompt_text(request):
        yield "Yes."
        return
    for number in range(PIECES):
        yield f"{number} {PIECE}"


def whole_answer() -> str:
    return "".join(f"{number} {PIECE}" for number in range(PIECES))


class SlowReader:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.line = socket.socket()
        self.line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.line.settimeout(20)
        assert parts.hostname
        assert parts.port
        self.line.connect((parts.hostname, parts.port))
        self.protocol = ClientProtocol(parse_uri(url))
        self.protocol.send_request(self.protocol.connect())
        self._flush()
        while self.protocol.state.name != "OPEN":
            self.protocol.receive_data(self.line.recv(1))
        self.protocol.events_received()
        self.frames: list[dict[str, Any]] = []
        self.received = 0

    def send(self, kind: str, **fields: Any) -> None:
        self.protocol.send_text(json.dumps({"v": 1, "type": kind, **fields}).encode())
        self._flush()

    def read(self, kind: str = "") -> None:
        """Up to a frame of this type, or to the end of the connection. `frames` are the whole ones
        of before and now."""
        while not any(frame["type"] == kind for frame in self.frames):
            try:
                data = self.line.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                self.line.close()
                return
            self.received += len(data)
            self.protocol.receive_data(data)
            for event in self.protocol.events_received():
                if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                    self.frames.append(json.loads(bytes(event.data)))

    def _flush(self) -> None:
        for data in self.protocol.data_to_send():
            self.line.sendall(data)
