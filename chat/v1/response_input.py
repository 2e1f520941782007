"""The input of a response and its tools, in OpenAI's words: messages, calls of functions, and what
these gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from django.utils.translation import gettext as _
from pydantic import ValidationError

from chat.errors import InvalidRequest
from chat.site_tools.chosen import named
from chat.v1.bodies import Body
from chat.v1.errors import UnsupportedContent, UnsupportedField
from chat.v1.messages import arguments_of, text_of
from chat.v1.tools import Function, Name, Tool, of_function

Message = dict[str, Any]
SENT_BACK = ("id", "status")
"""What a client sends back of an item of ours, and what says nothing."""


class Item(Body):
    """A message, a call (call_id, name, arguments), or what a call gave (call_id, output)."""

    type: str = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: Any = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: Any = None

    later: ClassVar[dict[str, tuple[Any, ...]]] = {}

    def told(self) -> dict[str, Any]:
        """As it is listed among the inputs, without an id."""
        given = self.model_fields_set & set(type(self).model_fields)
        return {"type": self.type, **self.model_dump(include=given)}


class FunctionIn(Function):
    type: Literal["function"]


class NamedFunction(Body):
    type: Literal["function"]
    name: Name


Choice = Literal["none", "auto", "required"] | NamedFunction


class SiteToolsIn(Body):
    """Tools that the site runs itself, in the words that OpenAI has for those that a server runs.
    allowed_tools: None: all that there are."""

    type: Literal["mcp"]
    server_label: Literal["tinyllm"]
    allowed_tools: list[Name] | None = None
    require_approval: Literal["never"]

    later: ClassVar[dict[str, tuple[Any, ...]]] = {
        "server_url": (),
        "connector_id": (),
        "authorization": (),
        "headers": ({},),
    }


_TOOL_KINDS: dict[Any, type[FunctionIn | SiteToolsIn]] = {
    "function": FunctionIn,
    "mcp": SiteToolsIn,
}


@dataclass(frozen=True, slots=True)
class GivenTools:
    """site: the site runs them. unknown: names of fields that are ignored."""

    tools: list[Tool]
    site: bool
    unknown: list[str]


def tools_of(given: Sequence[dict[str, Any]]) -> GivenTools:
    """Raises InvalidRequest, UnsupportedField."""
    tools, kinds, unknown = list[Tool](), set[str](), list[str]()
    for index, each in enumerate(given):
        where = f"tools[{index}]"
        kind = _TOOL_KINDS.get(each.get("type"))
        if kind is None:
            raise UnsupportedField(f"{where}.type" if "type" in each else where)
        tool = _validated(kind, each, where)
        kinds.add(tool.type)
        unknown += tool.unknown(f"{where}.")
        if isinstance(tool, SiteToolsIn):
            its = named(tool.allowed_tools, f"{where}.allowed_tools")
            tools += [Tool(name, each.description, each.parameters) for name, each in its.items()]
        else:
            tools.append(of_function(tool))
    if len(kinds) > 1:
        raise InvalidRequest(
            _("Tools of the site and functions of the caller's are not offered together."),
            param="tools",
        )
    return GivenTools(tools, "mcp" in kinds, unknown)


def _validated(
    kind: type[FunctionIn | SiteToolsIn], given: dict[str, Any], where: str
) -> FunctionIn | SiteToolsIn:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        param = ".".join([where, *map(str, first["loc"])])
        raise InvalidRequest(f"{param}: {first['msg']}", param=param) from None


def messages_of(items: Sequence[Item]) -> list[Message]:
    """As chat templates take them: calls in a row, and those behind words of the assistant's, are
    one message. Raises InvalidRequest, UnsupportedContent, InputTooLong, MessageRefused."""
    taken: list[Message] = []
    for index, item in enumerate(items):
        message = _message(item, f"input[{index}]")
        calls = message.get("tool_calls")
        if calls and taken and taken[-1]["role"] == "assistant":
            taken[-1].setdefault("tool_calls", []).extend(calls)
        else:
            taken.append(message)
    return taken


def _message(item: Item, where: str) -> Message:
    if item.type == "message" and item.role is not None:
        role = "system" if item.role == "developer" else item.role
        return {"role": role, "content": text_of(item.content, f"{where}.content")}
    if item.type == "function_call":
        id, name = _needed(item, "call_id", where), _needed(item, "name", where)
        given = arguments_of(_needed(item, "arguments", where), f"{where}.arguments")
        call = {"id": id, "type": "function", "function": {"name": name, "arguments": given}}
        return {"role": "assistant", "content": "", "tool_calls": [call]}
    if item.type == "function_call_output":
        said = text_of(item.output, f"{where}.output")
        return {"role": "tool", "content": said, "tool_call_id": _needed(item, "call_id", where)}
    raise UnsupportedContent(where, item.type)


def _needed(item: Item, name: str, where: str) -> str:
    value: str | None = getattr(item, name)
    if value is None:
        raise InvalidRequest(f"{where}.{name}: Field required", param=f"{where}.{name}")
    return value
