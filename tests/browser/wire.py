"""What passes between a page and the server, where a test can lay hands on it."""

from __future__ import annotations

import json
from weakref import WeakKeyDictionary

from playwright.sync_api import BrowserContext, WebSocketRoute

# The page leaves sampling to the model's defaults; a test needs an answer that it can count on.
GREEDY = {"temperature": 0, "max_tokens": 600}
# Until it is stopped, however late a busy machine comes to that.
ENDLESS = {"temperature": 0, "max_tokens": 6000, "ignore_eos": True}

WIRES: WeakKeyDictionary[BrowserContext, Wire] = WeakKeyDictionary()


class Wire:
    """All websockets of a context pass here. They can be cut, and are refused until that is mended.

    `late` is a frame that reaches the page just after it asked to read from somewhere else;
    `sampling` is what answers are asked for with.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.lines: list[WebSocketRoute] = []
        self.is_cut = False
        self.sampling = GREEDY
        self.late: dict[str, object] | None = None
        context.route_web_socket("**/ws/chat/", self._connect)

    def cut(self) -> None:
        self.is_cut = True
        self.lines[-1].close()

    def mend(self) -> None:
        self.is_cut = False

    def tell(self, frame: dict[str, object]) -> None:
        """A frame to the page, as if the server had sent it."""
        self.lines[-1].send(json.dumps({"v": 1, **frame}))

    def _connect(self, line: WebSocketRoute) -> None:
        self.lines.append(line)
        if self.is_cut:
            line.close()
            return
        server = line.connect_to_server()

        def pass_on(text: str | bytes) -> None:
            if self.late and json.loads(text)["type"] == "session.open":
                self.tell(self.late)
            server.send(self._sampled(str(text)))

        line.on_message(pass_on)

    def _sampled(self, text: str) -> str:
        frame = json.loads(text)
        if frame["type"] in ("turn.submit", "turn.regenerate"):
            frame["sampling"] = self.sampling
        return json.dumps(frame)
