"""Tools in Anthropic's words: what a request says of them, and blocks of calls and results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from django.utils.translation import gettext as _
from pydantic import Field

from chat.errors import InvalidRequest
from chat.v1.bodies import Body
from chat.v1.messages import arguments_of, text_of
from chat.v1.tools import MAX_TOOLS, Name, Offer, Tool, offered


class ToolIn(Body):
    """strict: the schema is obeyed in any case where a call is insisted on."""

    name: Name
    description: str | None = None
    input_schema: dict[str, Any]
    type: Literal["custom"] | None = None
    cache_control: Any = None
    strict: bool | None = None


class ChoiceIn(Body):
    type: Literal["auto", "any", "tool", "none"]
    name: Name | None = None
    disable_parallel_tool_use: bool | None = None

    later: ClassVar[dict[str, tuple[Any, ...]]] = {}


Tools = Annotated[list[ToolIn], Field(max_length=MAX_TOOLS)]
_KINDS = {"auto": "auto", "none": "none", "any": "required", "tool": "named"}


def offer_of(tools: Sequence[ToolIn], choice: ChoiceIn | None) -> Offer | None:
    """Raises InvalidRequest, InputTooLong, MessageRefused."""
    given = [Tool(each.name, each.description or "", each.input_schema) for each in tools]
    if choice is None:
        return offered(given, "auto")
    single = bool(choice.disable_parallel_tool_use)
    return offered(given, _KINDS[choice.type], choice.name, single=single)


def messages_of(role: str, content: Any, where: str) -> list[dict[str, Any]]:
    """A turn as chat templates take it: the results of tools first, a message each, then its text
    with its calls. Raises InvalidRequest, UnsupportedContent, InputTooLong, MessageRefused."""
    blocks = content if isinstance(content, list) else None
    if blocks is None or not any(_kind(block) in ("tool_use", "tool_result") for block in blocks):
        return [{"role": role, "content": text_of(content, where)}]
    results, calls, rest = [], [], []
    for index, block in enumerate(blocks):
        place = f"{where}[{index}]"
        if _kind(block) == "tool_result":
            results.append(_result(role, block, place))
        elif _kind(block) == "tool_use":
            calls.append(_call(role, block, place))
        else:
            rest.append(text_of([block], where))
    said = {"role": role, "content": "\n".join(rest)}
    if calls:
        said["tool_calls"] = calls  # type: ignore[assignment]
    return [*results, *([said] if rest or calls else [])]


def _result(role: str, block: dict[str, Any], place: str) -> dict[str, Any]:
    if role != "user":
        raise InvalidRequest(
            _("%(name)s: only a user's message has results of tools.") % {"name": place},
            param=place,
        )
    content = block.get("content")
    text = "" if content is None else text_of(content, f"{place}.content")
    if block.get("is_error"):
        text = f"Error: {text}"
    return {"role": "tool", "content": text, "tool_call_id": str(block.get("tool_use_id", ""))}


def _call(role: str, block: dict[str, Any], place: str) -> dict[str, Any]:
    if role != "assistant":
        raise InvalidRequest(
            _("%(name)s: only an assistant's message has calls.") % {"name": place}, param=place
        )
    if not isinstance(block.get("name"), str):
        raise InvalidRequest(
            _("%(name)s must be %(allowed)s.") % {"name": f"{place}.name", "allowed": _("a text")},
            param=f"{place}.name",
        )
    given = arguments_of(json.dumps(block.get("input", {})), f"{place}.input")
    called = {"name": block["name"], "arguments": given}
    return {"id": str(block.get("id", "")), "type": "function", "function": called}


def _kind(block: Any) -> Any:
    return block.get("type") if isinstance(block, dict) else None
