"""POST /v1/chat/completions."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.translation import gettext as _

from chat import engine
from chat.errors import InvalidRequest
from chat.v1 import output_form
from chat.v1.bodies import read
from chat.v1.edge import Caller, endpoint, named, request_name
from chat.v1.fields import TextRequest
from chat.v1.logprobs import Top, check_filters
from chat.v1.messages import MessageIn, plain
from chat.v1.replies import Head, system_fingerprint
from chat.v1.running import Asked, unique
from chat.v1.shapes import ChatShape
from chat.v1.sse import begun, chunks, error_frame, event_stream, whole
from chat.v1.tool_frames import ToolShape
from chat.v1.tool_prompt import insisted, syntax_of, tool_prompt
from chat.v1.tool_reading import reader_of
from chat.v1.tools import Choice, NamedTool, Offer, Tools, of_functions, offered
from inference.types import Constraint


class ChatRequest(TextRequest):
    messages: list[MessageIn]
    max_completion_tokens: int | None = None
    response_format: Any = None
    tools: Tools | None = None
    tool_choice: Choice | None = None
    parallel_tool_calls: bool | None = None
    logprobs: bool | None = None
    top_logprobs: Top | None = None

    later: ClassVar[dict[str, tuple[Any, ...]]] = {
        **TextRequest.later,
        "functions": ([],),
        "function_call": ("none", "auto"),
        "modalities": (["text"],),
        "audio": (),
        "prediction": (),
        "web_search_options": (),
        "reasoning_effort": (),
        "chat_template": (),
        "chat_template_kwargs": ({},),
        "add_generation_prompt": (True,),
        "continue_final_message": (False,),
        "echo": (False,),
    }

    def constraint(self) -> Constraint | None:
        form = output_form.of_format(self.response_format, "response_format")
        return output_form.only(super().constraint(), form)

    def offer(self) -> Offer | None:
        """Raises InvalidRequest, InputTooLong, MessageRefused."""
        choice, single = self.tool_choice, self.parallel_tool_calls is False
        name = choice.function.name if isinstance(choice, NamedTool) else None
        kind = choice if isinstance(choice, str) else "named" if name else None
        return offered(of_functions(self.tools or ()), kind, name, single=single)

    def unknown(self, prefix: str = "") -> list[str]:
        nested = [
            name
            for index, message in enumerate(self.messages)
            for name in message.unknown(f"messages[{index}].")
        ]
        for index, tool in enumerate(self.tools or ()):
            nested += tool.unknown(f"tools[{index}].")
        if self.logprobs:
            check_filters("logprobs")
        elif self.top_logprobs:
            raise InvalidRequest(
                _("top_logprobs is for logprobs: set logprobs to true, or leave it out."),
                param="top_logprobs",
            )
        return super().unknown(prefix) + nested


@endpoint("POST")
async def chat_completions(request: HttpRequest, caller: Caller) -> HttpResponseBase:
    body = read(request, ChatRequest)
    unknown = body.unknown()
    limit = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    params, offer = body.sampling(limit), body.offer()
    codec = await engine.client().codec(body.model)
    ids = await asyncio.to_thread(lambda: tool_prompt(codec, plain(body.messages), offer))
    asked = Asked(
        name=unique(request_name(request)),
        model=body.model,
        prompts=(tuple(ids),),
        sampling=insisted(params, offer, codec),
        tenant=str(caller.owner_id),
        copies=body.n or 1,
        priority=body.priority or 0,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        prompt_logprobs=body.prompt_logprobs,
    )
    head = Head(f"chatcmpl-{asked.name}", body.model, system_fingerprint(codec))
    how: Any = {"with_usage": body.include_usage, "prompt_top": body.prompt_logprobs}
    shape = ChatShape(head, codec, **how)
    if offer and (offer.called or params.constraint is None):
        make = partial(reader_of, offer, syntax_of(codec.tools_template))
        shape = ToolShape(head, codec, make, **how)
    if body.stream:
        frames = chunks(await begun(asked), asked, shape, with_usage=body.include_usage)
        return named(event_stream(frames, error_frame), unknown)
    return named(JsonResponse(shape.whole(await whole(asked))), unknown)
