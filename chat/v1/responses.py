"""POST /v1/responses, as OpenAI's newer clients ask. Unless the call says `store: false` it is a
turn of one of the caller's sessions, and the next call can go on from it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, ClassVar

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from pydantic import Field

from chat import engine, sampling
from chat.database import in_database
from chat.submission import default_sampling
from chat.v1 import output_form
from chat.v1.bodies import Body, read
from chat.v1.edge import Caller, endpoint, named, request_name
from chat.v1.errors import UnsupportedField
from chat.v1.kept_turn import begin, said, whole_turn
from chat.v1.logprobs import Top, check_filters
from chat.v1.messages import allowed
from chat.v1.response_frames import Head, ResponseShape, events
from chat.v1.response_input import (
    SENT_BACK,
    Choice,
    Item,
    NamedFunction,
    messages_of,
    tools_of,
)
from chat.v1.response_output import Output
from chat.v1.response_prompt import Told, prompt_of, submission_of
from chat.v1.running import Asked, unique
from chat.v1.sse import begun, event_stream, first_heard, whole
from chat.v1.stored import stored
from chat.v1.tool_reading import reader_again
from chat.v1.tool_rounds import ToolRounds
from chat.v1.tools import MAX_TOOLS, Offer, offered

LOGPROBS = "message.output_text.logprobs"


class TextOptions(Body):
    format: Any = None

    later: ClassVar[dict[str, tuple[Any, ...]]] = {"verbosity": ("medium",)}


class ResponseRequest(Body):
    """metadata: given back. store: None is true, as OpenAI has it."""

    model: str
    input: str | Annotated[list[Item], Field(min_length=1)]
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stream: bool | None = None
    include: list[str] | None = None
    top_logprobs: Top | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    text: TextOptions | None = None
    tools: Annotated[list[dict[str, Any]], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Choice | None = None
    parallel_tool_calls: bool | None = None

    later: ClassVar[dict[str, tuple[Any, ...]]] = {
        "conversation": (),
        "background": (False,),
        "prompt": (),
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
            if self.tools:
                raise UnsupportedField("include")
        if set(self.include or ()) - {LOGPROBS}:
            raise UnsupportedField("include")
        items = self.input if isinstance(self.input, list) else []
        nested = [
            name
            for index, item in enumerate(items)
            for name in item.unknown(f"input[{index}].")
            if name.partition("].")[2] not in SENT_BACK
        ]
        if self.text:
            nested += self.text.unknown("text.")
        given = tools_of(self.tools or ())
        if given.site and self.store is False:
            raise UnsupportedField("store")
        return super().unknown(prefix) + nested + given.unknown

    @property
    def _format(self) -> Any:
        return self.text and self.text.format

    def said(self) -> list[dict[str, Any]]:
        """The input as [{role, content}, ...]. Raises InvalidRequest, UnsupportedContent,
        InputTooLong, MessageRefused."""
        if isinstance(self.input, str):
            return allowed([{"role": "user", "content": self.input}])
        return allowed(messages_of(self.input))

    def items(self) -> list[dict[str, Any]]:
        """The input as it is listed."""
        if isinstance(self.input, str):
            return [{"type": "message", "role": "user", "content": self.input}]
        return [item.told() for item in self.input]

    def offer(self) -> Offer | None:
        """Raises InvalidRequest, InputTooLong, MessageRefused."""
        choice, single = self.tool_choice, self.parallel_tool_calls is False
        name = choice.name if isinstance(choice, NamedFunction) else None
        kind = choice if isinstance(choice, str) else "named" if name else None
        return offered(tools_of(self.tools or ()).tools, kind, name, single=single)

    @property
    def runs_tools(self) -> bool:
        """Whether it is the site that runs the tools."""
        return any(tool.get("type") == "mcp" for tool in self.tools or ())

    def sampling(self) -> dict[str, Any]:
        """Raises InvalidRequest, InvalidConstraint."""
        given = self.given("temperature", "top_p")
        given["constraint"] = output_form.of_format(self._format, "text.format")
        limit = self.max_output_tokens
        return given if limit is None else {**given, "max_tokens": limit}

    def told_again(self) -> dict[str, Any]:
        """What the response repeats of the request."""
        chosen = self.tool_choice
        return {
            **self.model_dump(include={"instructions", "max_output_tokens", "user"}),
            "metadata": self.metadata or {},
            "text": {"format": self._format or {"type": "text"}},
            "top_logprobs": self.top_logprobs or 0,
            "tools": [
                {"strict": False, **tool} if tool["type"] == "function" else tool
                for tool in self.tools or ()
            ],
            "tool_choice": chosen.model_dump() if isinstance(chosen, Body) else chosen or "auto",
            "parallel_tool_calls": self.parallel_tool_calls is not False,
        }


@endpoint("POST")
async def responses(request: HttpRequest, caller: Caller) -> HttpResponseBase:
    body = read(request, ResponseRequest)
    unknown = body.unknown()
    told = Told.of(body, await engine.client().codec(body.model))
    answer = _passing if body.store is False else _kept
    return named(await answer(request, caller, body, told), unknown)


async def _kept(
    request: HttpRequest, caller: Caller, body: ResponseRequest, told: Told
) -> HttpResponseBase:
    its = {"owner_id": caller.owner_id}
    submission = await in_database(submission_of, body, told, **its)
    turn = await begin(submission, **its)
    codec = told.codec if body.logprobs is not None else None
    rounds = ToolRounds(turn, submission, told, **its) if told.offer and body.runs_tools else None
    if rounds is None and not body.stream:
        await whole_turn(turn)
        found = await in_database(stored, turn.started.message_id, **its)
        return JsonResponse(found.response(codec, turn.logprobs))
    heard = await first_heard(said(turn))
    shape = (await in_database(stored, turn.started.message_id, **its)).shape(codec)
    frames = events(heard, shape, rounds)
    if body.stream:
        return event_stream(frames, shape.failed)
    async with aclosing(frames):
        async for _frame in frames:
            pass
    found = await in_database(stored, turn.started.message_id, **its)
    return JsonResponse(found.response())


async def _passing(
    request: HttpRequest, caller: Caller, body: ResponseRequest, told: Told
) -> HttpResponseBase:
    """Without a row."""
    params = told.params(sampling.merged(default_sampling(body.model), body.sampling()))
    make = partial(prompt_of, body, told, owner_id=caller.owner_id)
    ids = await (in_database(make) if body.previous_response_id else asyncio.to_thread(make))
    asked = Asked(
        name=unique(request_name(request)),
        model=body.model,
        prompts=(tuple(ids),),
        sampling=params,
        tenant=str(caller.owner_id),
        logprobs=body.logprobs,
    )
    head = Head(
        asked.name,
        model=body.model,
        params={"temperature": params.temperature, "top_p": params.top_p},
        input_tokens=len(ids),
        previous=body.previous_response_id,
        told_again=body.told_again(),
    )
    shape = ResponseShape(head, Output(head.name, reader_again(told.reading)), told.codec)
    if body.stream:
        return event_stream(events(await begun(asked), shape), shape.failed)
    return JsonResponse(shape.whole((await whole(asked)).each[0]))
