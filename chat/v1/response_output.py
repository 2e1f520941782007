"""What a response says: its items, which are messages and calls of functions, and the events that
they grow by."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from chat.site_tools.kinds import Ran
from chat.v1.tool_reading import Call, Part, Reader, Said

Event = tuple[str, dict[str, Any]]
Logprobs = Sequence[dict[str, Any]]


class Output:
    """The items of the response `name` so far. `take` and `end` give events, (kind, fields), of
    items that grow: each is to be written down before the next one is asked for."""

    def __init__(
        self,
        name: str,
        reader: Reader,
        *,
        site: Collection[str] = (),
        before: Iterable[dict[str, Any]] = (),
        results: Mapping[str, Ran] | None = None,
    ) -> None:
        """site: names of tools that the site runs. before: items of earlier rounds. results: what
        calls gave that have run, by their item's id."""
        self.items = list(before)
        self._name, self._site, self._results = name, site, results or {}
        self.next_round(reader)

    def next_round(self, reader: Reader) -> None:
        """Another answer of the model's follows, when all calls have run."""
        self._reader, self._first, self._ended = reader, len(self.items), True

    @property
    def waiting(self) -> list[dict[str, Any]]:
        """Calls that the site has to run."""
        return [item for item in self.items if item["type"] == "mcp_call" and _is_open(item)]

    def ran(self, item: dict[str, Any], ran: Ran) -> Iterator[Event]:
        """What the call `item` of `waiting` gave."""
        at, text = self.items.index(item), {"type": "text", "text": ran.text}
        error = {"type": "mcp_tool_execution_error", "content": [text]}
        if ran.failed:
            item.update(status="failed", error=error)
        else:
            item.update(status="completed", output=ran.text)
        yield f"mcp_call.{item['status']}", {"item_id": item["id"], "output_index": at}
        yield "output_item.done", {"output_index": at, "item": item}

    def not_run(self) -> Iterator[Event]:
        """What was called in the last round that there may be, or in an answer that was ended."""
        for item in self.waiting:
            if item["id"] in self._results:
                yield from self.ran(item, self._results[item["id"]])
                continue
            item["status"] = "incomplete"
            yield "output_item.done", {"output_index": self.items.index(item), "item": item}

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
            kind = self.items[-1]["type"]
            yield f"{kind}_arguments.delta", {**self._at(), "delta": part.text}

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
        number = sum(item["type"] == "message" for item in self.items)
        id = f"msg_{self._name}_{number}" if number else f"msg_{self._name}"
        yield from self._begin(id, "message", role="assistant", content=[])
        self.items[-1]["content"].append(part)
        yield "content_part.added", {**self._in_text(), "part": part}

    def _begin_call(self, call: Call) -> Iterator[Event]:
        yield from self._close()
        number = sum(item["type"] != "message" for item in self.items)
        its: dict[str, Any] = {"name": call.name, "arguments": ""}
        if call.name in self._site:
            its |= {"server_label": "tinyllm", "output": None, "error": None}
            yield from self._begin(f"mcp_{self._name}_{number}", "mcp_call", **its)
        else:
            id = f"fc_{self._name}_{number}"
            yield from self._begin(id, "function_call", call_id=call_id(id), **its)

    def _begin(self, id: str, kind: str, **fields: Any) -> Iterator[Event]:
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
            yield f"{item['type']}_arguments.done", {**self._at(), **told}
        if item["type"] == "mcp_call":
            yield "mcp_call.in_progress", self._at()
            return
        # only a whole response is called cancelled
        item["status"] = "incomplete" if status == "cancelled" else status
        yield "output_item.done", {"output_index": len(self.items) - 1, "item": item}

    def _at(self) -> dict[str, Any]:
        return {"item_id": self.items[-1]["id"], "output_index": len(self.items) - 1}

    def _in_text(self) -> dict[str, Any]:
        return {**self._at(), "content_index": 0}


def call_id(item_id: str) -> str:
    """The same whenever a kept response is read. Nine letters and digits: what Mistral's templates
    insist on."""
    return hashlib.sha256(item_id.encode()).hexdigest()[:9]


def _is_open(item: dict[str, Any]) -> bool:
    return bool(item["status"] == "in_progress")
