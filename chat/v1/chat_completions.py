"""POST /v1/chat/completions."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.translation import gettext as _

from chat import engine
from chat.errors import InvalidRequest
from chat.prompting import first_prompt
from chat.v1.bodies import read
from chat.v1.edge import Caller, endpoint, named, request_name
from chat.v1.fields import TextRequest
from chat.v1.logprobs import Top, check_filters
from chat.v1.messages import MessageIn, plain
from chat.v1.replies import Head, system_fingerprint
from chat.v1.running import Asked, unique
from chat.v1.shapes import ChatShape
from chat.v1.sse import begun, chunks, error_frame, event_stream, whole

TEXT_FORMAT = {"type": "text"}


class ChatRequest(TextRequest):
    messages: list[MessageIn]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: Top | None = None

    later: ClassVar[dict[str, tuple[Any, ...]]] = {
        **TextRequest.later,
        "response_format": (TEXT_FORMAT,),
        "tools": ([],),
        "tool_choice": ("none", "auto"),
        "parallel_tool_calls": (True, False),
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

    def unknown(self, prefix: str = "") -> list[str]:
        nested = [
            name
            for index, message in enumerate(self.messages)
            for name in message.unknown(f"messages[{index}].")
        ]
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
    params = body.sampling(limit)
    codec = await engine.client().codec(body.model)
    ids = await asyncio.to_thread(lambda: first_prompt(codec, plain(body.messages)))
    asked = Asked(
        name=unique(request_name(request)),
        model=body.model,
        prompts=(tuple(ids),),
        sampling=params,
        tenant=str(caller.owner_id),
        copies=body.n or 1,
        priority=body.priority or 0,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        prompt_logprobs=body.prompt_logprobs,
    )
    head = Head(f"chatcmpl-{asked.name}", body.model, system_fingerprint(codec))
    shape = ChatShape(head, codec, with_usage=body.include_usage, prompt_top=body.prompt_logprobs)
    if body.stream:
        frames = chunks(await begun(asked), asked, shape, with_usage=body.include_usage)
        return named(event_stream(frames, error_frame), unknown)
    return named(JsonResponse(shape.whole(await whole(asked))), unknown)
