"""A conversation as clients send it, turned into what a chat template takes: text by role."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from django.utils.translation import gettext as _

from chat import filtering
from chat.errors import MAX_TEXT, InputTooLong, InvalidRequest
from chat.tracing.recorder import span
from chat.v1.bodies import Body
from chat.v1.errors import UnsupportedContent

TEXT_PARTS = ("text", "input_text", "output_text")


class MessageIn(Body):
    """content: text, or a list of parts with text in them. name goes on to the template."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Any = None
    name: str | None = None

    later: ClassVar[dict[str, tuple[Any, ...]]] = {
        "tool_calls": ([],),
        "function_call": (),
        "tool_call_id": (),
        "audio": (),
    }


def plain(messages: list[MessageIn]) -> list[dict[str, Any]]:
    """[{role, content}, ...], each content a text that may be said. Raises InvalidRequest,
    UnsupportedContent, InputTooLong, MessageRefused."""
    if not messages:
        raise InvalidRequest(_("There must be at least one message."), param="messages")
    taken = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if message.role in ("tool", "function"):
            raise UnsupportedContent(f"{where}.role", message.role)
        role = "system" if message.role == "developer" else message.role
        text = text_of(message.content, f"{where}.content")
        taken.append({"role": role, "content": text, **message.given("name")})
    return allowed(taken)


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
