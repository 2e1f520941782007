"""A conversation as clients send it, turned into what a chat template takes: text by role."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Literal

from django.utils.translation import gettext as _

from chat import filtering
from chat.errors import MAX_TEXT, InputTooLong, InvalidRequest
from chat.tracing.recorder import span
from chat.v1.bodies import Body
from chat.v1.errors import UnsupportedContent

TEXT_PARTS = ("text", "input_text", "output_text")


class CalledFunction(Body):
    """arguments: JSON, an object."""

    name: str
    arguments: str


class CallIn(Body):
    id: str | None = None
    type: Literal["function"] = "function"
    function: CalledFunction


class MessageIn(Body):
    """content: text, or a list of parts with text in them; null beside calls of tools. name goes on
    to the template. tool_call_id: of a tool's result, the call that it answers."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Any = None
    name: str | None = None
    tool_calls: list[CallIn] | None = None
    tool_call_id: str | None = None

    later: ClassVar[dict[str, tuple[Any, ...]]] = {
        "function_call": (),
        "audio": (),
    }


def plain(messages: list[MessageIn]) -> list[dict[str, Any]]:
    """[{role, content}, ...], each content a text that may be said; calls of tools as chat
    templates take them. Raises InvalidRequest, UnsupportedContent, InputTooLong, MessageRefused."""
    if not messages:
        raise InvalidRequest(_("There must be at least one message."), param="messages")
    taken = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if message.role == "function":
            raise UnsupportedContent(f"{where}.role", message.role)
        role = "system" if message.role == "developer" else message.role
        calls = _calls(message, where)
        has_text = message.content is not None or not calls
        text = text_of(message.content, f"{where}.content") if has_text else ""
        more = message.given("name", "tool_call_id") | ({"tool_calls": calls} if calls else {})
        taken.append({"role": role, "content": text, **more})
    return allowed(taken)


def _calls(message: MessageIn, where: str) -> list[dict[str, Any]]:
    """[{id, type, function: {name, arguments}}, ...], the arguments an object. Raises
    InvalidRequest, InputTooLong, MessageRefused."""
    if message.tool_calls and message.role != "assistant":
        raise InvalidRequest(
            _("%(name)s: only an assistant's message has calls.") % {"name": f"{where}.tool_calls"},
            param=f"{where}.tool_calls",
        )
    return [
        _call(call, f"{where}.tool_calls[{index}].function.arguments")
        for index, call in enumerate(message.tool_calls or ())
    ]


def _call(call: CallIn, where: str) -> dict[str, Any]:
    called = {
        "name": call.function.name,
        "arguments": arguments_of(call.function.arguments, where),
    }
    told = {"type": "function", "function": called}
    return {"id": call.id, **told} if call.id else told


def arguments_of(said: str, where: str) -> dict[str, Any]:
    """Raises InvalidRequest, InputTooLong, MessageRefused."""
    if len(said) > MAX_TEXT:
        raise InputTooLong("messages", len(said))
    try:
        given = json.loads(filtering.incoming(said) or "{}")
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise InvalidRequest(_("%(name)s must be a JSON object.") % {"name": where}, param=where)
    return given


def allowed(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of a length that is read, and past the filters. Raises InputTooLong, MessageRefused."""
    length = sum(len(message["content"]) for message in messages)
    if length > MAX_TEXT:
        raise InputTooLong("messages", length)
    with span("checks", characters=length):
        return [{**each, "content": filtering.incoming(each["content"])} for each in messages]


def text_of(content: Any, where: str) -> str:
    """Raises InvalidRequest, UnsupportedContent."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InvalidRequest(
            _("%(name)s must be a text, or a list of parts with text.") % {"name": where},
            param=where,
        )
    return "\n".join(_part(part, f"{where}[{index}]") for index, part in enumerate(content))


def _part(part: Any, where: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(kind, str) and kind not in TEXT_PARTS:
        raise UnsupportedContent(where, kind)
    text = part.get("text") if isinstance(part, dict) else None
    if kind is None or not isinstance(text, str):
        raise InvalidRequest(
            _("%(name)s must be a text, or a list of parts with text.") % {"name": where},
            param=where,
        )
    return text
