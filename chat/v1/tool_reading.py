"""Calls of tools in what a model writes, as it comes.

Read are: `<tool_call>{…}</tool_call>` anywhere (Hermes, Qwen); and an answer that is nothing but
calls: JSON (Llama 3, with or without `<|python_tag|>`), a list after `[TOOL_CALLS]`, or
`[TOOL_CALLS]name[ARGS]{…}` (Mistral). Special tokens have no text, so the marks may be missing.
What is no call of a tool that was offered is text, and none of it is lost.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from chat.v1.tool_prompt import Syntax
from chat.v1.tools import Offer

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_MARKS = ("<|python_tag|>", "[TOOL_CALLS]")
_BEGINNINGS = (*_MARKS, '{"name":', '[{"name":', '{"type":"function"')
_ARGS = re.compile(r"\s*([A-Za-z0-9_-]{1,64})\[ARGS\]\s*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Said:
    """Text for the reader."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call begins. index: counts from 0."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """More of a call's arguments, which are JSON when they are all there."""

    index: int
    text: str


Part = Said | Call | Arguments


class Reader(Protocol):
    def push(self, text: str) -> list[Part]: ...
    def end(self) -> list[Part]: ...


def reader_of(offer: Offer, syntax: Syntax) -> Reader:
    return InsistedCall(syntax) if offer.called else PossibleCalls(offer.names, offer.single)


def kept_reading(offer: Offer, syntax: Syntax) -> dict[str, Any]:
    """What makes the reader again, as JSON."""
    key = syntax.key if offer.called else ""
    return {"names": sorted(offer.names), "single": offer.single, "key": key}


def reader_again(kept: Mapping[str, Any] | None) -> Reader:
    """kept: by `kept_reading`; None: there are no calls."""
    if kept is None:
        return Plain()
    if kept["key"]:
        return InsistedCall(Syntax("", kept["key"]))
    return PossibleCalls(frozenset(kept["names"]), kept["single"])


class Plain:
    """No calls: all is text."""

    def push(self, text: str) -> list[Part]:
        return [Said(text)]

    def end(self) -> list[Part]:
        return []


class InsistedCall:
    """The one call that the grammar lets come: {"name":"…",key:…} without spaces."""

    def __init__(self, syntax: Syntax) -> None:
        self._head = re.compile(rf'\{{"name":"([^"]*)","{syntax.key}":')
        self._held, self._begun = "", False

    def push(self, text: str) -> list[Part]:
        self._held += text
        parts: list[Part] = []
        if not self._begun:
            head = self._head.match(self._held)
            if head is None:
                return []
            self._begun, self._held = True, self._held[head.end() :]
            parts.append(Call(0, new_id(), head[1]))
        # the last brace is that of the call
        ready, self._held = self._held[:-1], self._held[-1:]
        return [*parts, Arguments(0, ready)] if ready else parts

    def end(self) -> list[Part]:
        """What was cut off is given as it is."""
        held = self._held
        if not self._begun:
            return [Said(held)] if held else []
        return [Arguments(0, held)] if held and held != "}" else []


class PossibleCalls:
    """Any text, with calls in it or not."""

    def __init__(self, names: frozenset[str], single: bool = False) -> None:
        """single: only the first call is one."""
        self._names, self._single, self._held, self._count = names, single, "", 0
        self._step = self._beginning

    def push(self, text: str) -> list[Part]:
        self._held += text
        return list(self._parts(final=False))

    def end(self) -> list[Part]:
        return list(self._parts(final=True))

    def _parts(self, *, final: bool) -> Iterator[Part]:
        step = None
        while step != self._step:
            step = self._step
            yield from step(final)

    def _beginning(self, final: bool) -> Iterator[Part]:
        """While it may be an answer that is nothing but calls."""
        shown = re.sub(r"\s", "", self._held)
        may_be = any(b.startswith(shown) or shown.startswith(b) for b in _BEGINNINGS)
        if may_be and not final:
            return
        calls = bare_calls(self._held, self._names) if may_be else None
        if calls:
            self._held = ""
            yield from self._told(calls)
        self._step = self._text

    def _text(self, final: bool) -> Iterator[Part]:
        before, mark, rest = self._held.partition(_OPEN)
        if mark:
            self._held, self._step = rest, self._call
            ready = before.rstrip()
        else:
            ready = before if final else before[: _safe(before)]
            self._held = before[len(ready) :]
        if ready:
            yield Said(ready)

    def _call(self, final: bool) -> Iterator[Part]:
        body, mark, rest = self._held.partition(_CLOSE)
        if not mark and not final:
            return
        calls = _values(body, self._names)
        self._held, self._step = rest.lstrip() if calls else rest, self._text
        if calls:
            yield from self._told(calls)
        else:
            yield Said(f"{_OPEN}{body}{mark}")

    def _told(self, calls: list[tuple[str, str]]) -> Iterator[Part]:
        for name, arguments in calls:
            if self._single and self._count:
                return
            yield Call(self._count, new_id(), name)
            yield Arguments(self._count, arguments)
            self._count += 1


def bare_calls(text: str, names: frozenset[str]) -> list[tuple[str, str]] | None:
    """[(name, arguments as JSON), ...] of a text that is nothing but calls of these tools."""
    text = text.strip()
    for mark in _MARKS:
        text = text.removeprefix(mark)
    found: list[tuple[str, str]] = []
    while head := _ARGS.match(text):
        try:
            value, end = _DECODER.raw_decode(text, head.end())
        except ValueError:
            return None
        if head[1] not in names or not isinstance(value, dict):
            return None
        found.append((head[1], _as_json(value)))
        text = text[end:].lstrip().removeprefix("[TOOL_CALLS]")
    return found if found and not text.strip() else _values(text, names)


def new_id() -> str:
    """Nine letters and digits: what Mistral's templates insist on."""
    return uuid.uuid4().hex[:9]


def _values(text: str, names: frozenset[str]) -> list[tuple[str, str]] | None:
    """JSON values one after the other, with semicolons or spaces between them."""
    found: list[tuple[str, str]] = []
    while text := text.strip("; \n\t"):
        try:
            value, end = _DECODER.raw_decode(text)
        except (ValueError, RecursionError):
            return None
        text = text[end:]
        for each in value if isinstance(value, list) else [value]:
            call = _one(each, names)
            if call is None:
                return None
            found.append(call)
    return found or None


def _one(value: Any, names: frozenset[str]) -> tuple[str, str] | None:
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict) or value.get("name") not in names:
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        return value["name"], arguments
    return (value["name"], _as_json(arguments)) if isinstance(arguments, dict) else None


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _safe(text: str) -> int:
    """How much of it is no beginning of a mark, nor space before one."""
    for length in range(min(len(_OPEN) - 1, len(text)), 0, -1):
        if text.endswith(_OPEN[:length]):
            return len(text[:-length].rstrip())
    return len(text.rstrip())
