"""Tools and their calls as a model reads them.

A chat template that knows tools gets them as its authors meant it. Any other model is told in a
system message which tools there are and how to call one, in the words that most tool models were
trained on, and calls and their results stand in the texts of the conversation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from chat.engine import PromptCodec
from chat.prompting import first_prompt
from chat.tracing.recorder import span
from chat.v1.output_form import only
from chat.v1.tools import Offer, call_constraint
from inference.errors import ContextLengthExceeded, InvalidParameter
from inference.types import ModelKind, SamplingParams

Message = dict[str, Any]

_BLOCK = """# Tools

You may call functions to help with the user's request. These are the functions, one a line:
<tools>
{tools}
</tools>

To call a function, answer with its name and its arguments as JSON:
<tool_call>
{{"name": "function-name", "arguments": {{"argument": "value"}}}}
</tool_call>"""


@dataclass(frozen=True, slots=True)
class Syntax:
    """How a family writes a call. opening: what stands in front of the JSON; key: what it calls the
    arguments."""

    opening: str
    key: str


HERMES = Syntax("<tool_call>\n", "arguments")
MISTRAL = Syntax("[TOOL_CALLS][", "arguments")
LLAMA = Syntax("", "parameters")


def syntax_of(template: str) -> Syntax:
    """By the template, '' where it knows no tools: the words of the system message are Hermes'."""
    if "[TOOL_CALLS]" in template:
        return MISTRAL
    if "<tool_call>" not in template and '"parameters"' in template:
        return LLAMA
    return HERMES


def tool_prompt(codec: PromptCodec, messages: Sequence[Message], offer: Offer | None) -> list[int]:
    """The tokens to read. Where a call is insisted on, it has begun: its JSON comes next. Raises
    InvalidParameter, ContextLengthExceeded."""
    if codec.kind is ModelKind.COMPLETION:
        if offer is None:
            return first_prompt(codec, messages)
        raise InvalidParameter("tools", len(offer.tools), "left out: this model continues text")
    with span("prompt", messages=len(messages)):
        said = rendered(codec, messages, offer)
        if offer and offer.called:
            said += syntax_of(codec.tools_template).opening
        ids = codec.encode(said)
    if len(ids) >= codec.context_length:
        raise ContextLengthExceeded(len(ids), codec.context_length)
    return ids


def rendered(
    codec: PromptCodec,
    messages: Sequence[Message],
    offer: Offer | None = None,
    *,
    add_generation_prompt: bool = True,
) -> str:
    """Raises InvalidParameter."""
    tools = [tool.told() for tool in offer.tools] if offer else []
    if not codec.tools_template:
        said = in_words(messages, tools)
        return codec.render(said, add_generation_prompt=add_generation_prompt)
    return codec.render(
        list(messages), add_generation_prompt=add_generation_prompt, tools=tools or None
    )


def insisted(params: SamplingParams, offer: Offer | None, codec: PromptCodec) -> SamplingParams:
    """With the form of the call that is insisted on, if one is. Raises InvalidRequest."""
    if not offer or not offer.called:
        return params
    form = call_constraint(offer.called, syntax_of(codec.tools_template).key)
    return replace(params, constraint=only(params.constraint, form))


def in_words(messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> list[Message]:
    """For a template that knows messages of text only. Results stand in a message of the user's."""
    said: list[Message] = []
    for message in messages:
        role, text = message["role"], message["content"]
        if role == "tool":
            role, text = "user", f"<tool_response>\n{text}\n</tool_response>"
        for call in message.get("tool_calls", ()):
            written = json.dumps(call["function"], ensure_ascii=False)
            text = f"{text}\n<tool_call>\n{written}\n</tool_call>".lstrip("\n")
        if message["role"] == "tool" and said and said[-1].get("results"):
            said[-1]["content"] += "\n" + text
        else:
            results = {"results": True} if message["role"] == "tool" else {}
            kept = {name: message[name] for name in ("name",) if name in message}
            said.append({"role": role, "content": text, **kept, **results})
    plain = [{n: v for n, v in each.items() if n != "results"} for each in said]
    if not tools:
        return plain
    lines = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    block = _BLOCK.format(tools=lines)
    if plain and plain[0]["role"] == "system":
        first = {"role": "system", "content": f"{plain[0]['content']}\n\n{block}"}
        return [first, *plain[1:]]
    return [{"role": "system", "content": block}, *plain]
