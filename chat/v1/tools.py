"""Functions that a model may call: what a request says of them, and the form of a call that it
insists on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from django.utils.translation import gettext as _
from pydantic import Field

from chat import filtering
from chat.errors import MAX_TEXT, InputTooLong, InvalidRequest
from chat.v1.bodies import Body
from inference.types import Constraint

MAX_TOOLS = 128
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}
_OF_VALUES = ("const", "enum", "default", "examples")


class Function(Body):
    """strict: parameters are obeyed in any case where a call is insisted on."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolIn(Body):
    type: Literal["function"]
    function: Function

    def unknown(self, prefix: str = "") -> list[str]:
        return super().unknown(prefix) + self.function.unknown(f"{prefix}function.")


class NamedTool(Body):
    class Named(Body):
        name: Name

    type: Literal["function"]
    function: Named


Tools = Annotated[list[ToolIn], Field(max_length=MAX_TOOLS)]
Choice = Literal["none", "auto", "required"] | NamedTool


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    parameters: dict[str, Any]

    def told(self) -> dict[str, Any]:
        """As chat templates take it."""
        function = {"name": self.name, "description": self.description}
        return {"type": "function", "function": {**function, "parameters": self.parameters}}


@dataclass(frozen=True, slots=True)
class Offer:
    """Tools that the model hears of. called: those of which one must be called now; empty: it may
    call any of them, or none. single: at most one call is wanted."""

    tools: tuple[Tool, ...]
    called: tuple[Tool, ...] = ()
    single: bool = False

    @property
    def names(self) -> frozenset[str]:
        return frozenset(tool.name for tool in self.tools)


def offered(
    tools: Sequence[Tool], choice: str | None, name: str | None = None, *, single: bool = False
) -> Offer | None:
    """choice: none, auto, required, or named, then with the tool's name. Raises InvalidRequest,
    InputTooLong, MessageRefused."""
    if not tools and (choice in ("required", "named")):
        raise InvalidRequest(_("tool_choice asks for a call, and there are no tools."),
                             param="tool_choice")  # fmt: skip
    if not tools or choice == "none":
        return None
    known = [tool.name for tool in tools]
    if len(set(known)) < len(known):
        raise InvalidRequest(_("Two tools have the same name."), param="tools")
    if choice == "named" and name not in known:
        raise InvalidRequest(
            _("tool_choice names %(name)s, and there is no such tool.") % {"name": name},
            param="tool_choice",
        )
    said = tuple(_allowed(tool) for tool in tools)
    called = said if choice == "required" else tuple(t for t in said if t.name == name)
    return Offer(said, called, single)


def of_functions(tools: Sequence[ToolIn]) -> list[Tool]:
    return [of_function(each.function) for each in tools]


def of_function(function: Function) -> Tool:
    parameters = _NO_PARAMETERS if function.parameters is None else function.parameters
    return Tool(function.name, function.description or "", parameters)


def call_constraint(called: Sequence[Tool], key: str) -> Constraint:
    """One call of one of these, as {"name": …, key: …}: the arguments obey the tool's schema."""
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": tool.name}, key: {"$ref": f"#/$defs/{tool.name}"}},
            "required": ["name", key],
            "additionalProperties": False,
        }
        for tool in called
    ]
    own = {tool.name: _moved(tool.parameters, f"#/$defs/{tool.name}") for tool in called}
    head = calls[0] if len(calls) == 1 else {"anyOf": calls}
    return Constraint.of_schema({**head, "$defs": own})


def _allowed(tool: Tool) -> Tool:
    """Of a length that is read, and past the filters, like a message."""
    length = len(tool.description) + len(json.dumps(tool.parameters))
    if length > MAX_TEXT:
        raise InputTooLong("tools", length)
    filtering.incoming(json.dumps(tool.parameters, ensure_ascii=False))
    return Tool(tool.name, filtering.incoming(tool.description), tool.parameters)


def _moved(schema: Any, root: str) -> Any:
    """A schema that has become a part of another one: its own references stay its own."""
    if isinstance(schema, list):
        return [_moved(each, root) for each in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {
        name: value if name in _OF_VALUES else _moved(value, root)
        for name, value in schema.items()
        if name not in ("$schema", "$id")
    }
    if isinstance(moved.get("$ref"), str) and moved["$ref"].startswith("#"):
        moved["$ref"] = root + moved["$ref"][1:]
    return moved
