"""POST /v1/responses, as OpenAI's newer clients ask. Nothing is kept, so there is nothing to go on
with: each call brings its whole conversation."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, ClassVar, Literal

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from pydantic import Field

from chat import engine, sampling
from chat.prompting import first_prompt
from chat.submission import default_sampling
from chat.v1 import output_form
from chat.v1.bodies import Body, read
from chat.v1.edge import Caller, endpoint, named, request_name
from chat.v1.errors import UnsupportedContent, UnsupportedField
from chat.v1.logprobs import Top, check_filters
from chat.v1.messages import allowed, text_of
from chat.v1.response_frames import ResponseShape, events
from chat.v1.running import Asked, unique
from chat.v1.sse import begun, event_stream, whole

LOGPROBS = "message.output_text.logprobs"


class Item(Body):
    """A message of the conversation. Other types come with tools."""

    type: str = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: Any = None

    later: ClassVar[dict[str, tuple[Any, ...]]] = {}


class TextOptions(Body):
    format: Any = None

    later: ClassVar[dict[str, tuple[Any, ...]]] = {"verbosity": ("medium",)}


class ResponseRequest(Body):
    """metadata: given back."""

    model: str
    input: str | Annotated[list[Item], Field(min_length=1)]
    instructions: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stream: bool | None = None
    include: list[str] | None = None
    top_logprobs: Top | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    text: TextOptions | None = None

    later: ClassVar[dict[str, tuple[Any, ...]]] = {
        "store": (False,),
        "previous_response_id": (),
        "conversation": (),
        "background": (False,),
        "prompt": (),
        "tools": ([],),
        "tool_choice": ("none", "auto"),
        "parallel_tool_calls": (True, False),
        "max_tool_calls": (),
        "reasoning": ({},),
        "truncation": ("disabled",),
    }

    @property
    def logprobs(self) -> int | None:
        """How many likelier tokens are told of; None: nothing is."""
        asked = self.top_logprobs or LOGPROBS in (self.include or ())
        return (self.top_logprobs or 0) if asked else None

    def unknown(self, prefix: str = "") -> list[str]:
        """What a client sends back of an answer of ours (id, status) is known and says nothing."""
        if self.logprobs is not None:
            check_filters("include")
        if set(self.include or ()) - {LOGPROBS}:
            raise UnsupportedField("include")
        items = self.input if isinstance(self.input, list) else []
        nested = [
            name
            for index, item in enumerate(items)
            for name in item.unknown(f"input[{index}].")
            if name.partition("].")[2] not in ("id", "status")
        ]
        if self.text:
            nested += self.text.unknown("text.")
        return super().unknown(prefix) + nested

    def conversation(self) -> list[dict[str, Any]]:
        """[{role, content}, ...]. Raises InvalidRequest, UnsupportedContent, InputTooLong,
        MessageRefused."""
        taken: list[dict[str, Any]] = []
        if self.instructions:
            taken.append({"role": "system", "content": self.instructions})
        if isinstance(self.input, str):
            return allowed([*taken, {"role": "user", "content": self.input}])
        for index, item in enumerate(self.input):
            where = f"input[{index}]"
            if item.type != "message" or item.role is None:
                raise UnsupportedContent(where, item.type)
            role = "system" if item.role == "developer" else item.role
            taken.append({"role": role, "content": text_of(item.content, f"{where}.content")})
        return allowed(taken)


@endpoint("POST")
async def responses(request: HttpRequest, caller: Caller) -> HttpResponseBase:
    body = read(request, ResponseRequest)
    unknown = body.unknown()
    given = body.given("temperature", "top_p")
    if body.max_output_tokens is not None:
        given["max_tokens"] = body.max_output_tokens
    given["constraint"] = output_form.of_format(body.text and body.text.format, "text.format")
    params = sampling.merged(default_sampling(body.model), given)
    codec = await engine.client().codec(body.model)
    ids = await asyncio.to_thread(lambda: first_prompt(codec, body.conversation()))
    asked = Asked(
        name=unique(request_name(request)),
        model=body.model,
        prompts=(tuple(ids),),
        sampling=params,
        tenant=str(caller.owner_id),
        logprobs=body.logprobs,
    )
    shape = ResponseShape(
        asked,
        codec,
        top_logprobs=body.top_logprobs or 0,
        instructions=body.instructions,
        max_output_tokens=body.max_output_tokens,
        metadata=body.metadata or {},
        user=body.user,
        text={"format": (body.text and body.text.format) or {"type": "text"}},
    )
    if body.stream:
        frames = events(await begun(asked), shape)
        return named(event_stream(frames, shape.failed), unknown)
    return named(JsonResponse(shape.response((await whole(asked)).each[0])), unknown)
