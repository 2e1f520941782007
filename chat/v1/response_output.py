"""What a response says: its items, which are messages and calls of functions, and the events that
they grow by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from chat.v1.tool_reading import Call, Part, Reader, Said

Event = tuple[str, dict[str, Any]]
Logprobs = Sequence[dict[str, Any]]


class Output:
    """The items of the response `name` so far. `take` and `end` give events, (kind, fields), of
    items that grow: each is to be written down before the next one is asked for."""

    def __init__(self, name: str, reader: Reader, before: Iterable[dict[str, Any]] = ()) -> None:
        """before: items that are there already and have ended."""
        self.items = list(before)
        self._name, self._reader = name, reader
        self._first, self._ended = len(self.items), True

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [item for item in self.items[self._first :] if item["type"] == "function_call"]

    def take(self, text: str, logprobs: Logprobs = ()) -> Iterator[Event]:
        parts = self._reader.push(text) if text else []
        if logprobs and not parts:  # of a token without text
            parts = [Said("")]
        for part in parts:
            yield from self._part(part, logprobs)

    def end(self, status: str) -> Iterator[Event]:
        """status: of the last item. There is one at least: a message, be it empty."""
        for part in self._reader.end():
            yield from self._part(part, ())
        if len(self.items) == self._first:
            yield from self._begin_message()
        yield from self._close(status)

    def _part(self, part: Part, logprobs: Logprobs) -> Iterator[Event]:
        if isinstance(part, Said):
            yield from self._say(part.text, logprobs)
        elif isinstance(part, Call):
            yield from self._begin_call(part)
        else:
            self.items[-1]["arguments"] += part.text
            yield "function_call_arguments.delta", {**self._at(), "delta": part.text}

    def _say(self, text: str, logprobs: Logprobs) -> Iterator[Event]:
        if self._ended or self.items[-1]["type"] != "message":
            yield from self._begin_message()
        (part,) = self.items[-1]["content"]
        part["text"] += text
        part["logprobs"] += logprobs
        yield "output_text.delta", {**self._in_text(), "delta": text, "logprobs": list(logprobs)}

    def _begin_message(self) -> Iterator[Event]:
        yield from self._close()
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        yield from self._begin(f"msg_{self._name}", "message", role="assistant", content=[])
        self.items[-1]["content"].append(part)
        yield "content_part.added", {**self._in_text(), "part": part}

    def _begin_call(self, call: Call) -> Iterator[Event]:
        yield from self._close()
        id = f"fc_{self._name}_{call.index}"
        its = {"call_id": call_id(self._name, call.index), "name": call.name, "arguments": ""}
        yield from self._begin(id, "function_call", **its)

    def _begin(self, id: str, kind: str, **fields: Any) -> Iterator[Event]:
        taken = sum(item["id"].startswith(id) for item in self.items)
        id = f"{id}_{taken}" if taken else id
        self._ended = False
        self.items.append({"type": kind, "id": id, "status": "in_progress", **fields})
        at = len(self.items) - 1
        yield "output_item.added", {"output_index": at, "item": self.items[-1]}

    def _close(self, status: str = "completed") -> Iterator[Event]:
        if self._ended:
            return
        self._ended, item = True, self.items[-1]
        if item["type"] == "message":
            (part,) = item["content"]
            told = {"text": part["text"], "logprobs": part["logprobs"]}
            yield "output_text.done", {**self._in_text(), **told}
            yield "content_part.done", {**self._in_text(), "part": part}
        else:
            told = {"name": item["name"], "arguments": item["arguments"]}
            yield "function_call_arguments.done", {**self._at(), **told}
        item["status"] = status
        yield "output_item.done", {"output_index": len(self.items) - 1, "item": item}

    def _at(self) -> dict[str, Any]:
        return {"item_id": self.items[-1]["id"], "output_index": len(self.items) - 1}

    def _in_text(self) -> dict[str, Any]:
        return {**self._at(), "content_index": 0}


def call_id(name: str, index: int) -> str:
    """The same whenever a kept response is read. Nine letters and digits: what Mistral's templates
    insist on."""
    return hashlib.sha256(f"{name}/{index}".encode()).hexdigest()[:9]
