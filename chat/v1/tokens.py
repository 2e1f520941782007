"""POST /tokenize, /detokenize and /apply-template, as vLLM and llama.cpp have them."""

from __future__ import annotations

import asyncio
from typing import Annotated

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.translation import gettext as _
from pydantic import Field

from chat import engine
from chat.errors import MAX_TEXT, InputTooLong, InvalidRequest
from chat.v1 import tool_prompt
from chat.v1.bodies import Body, read
from chat.v1.edge import Caller, endpoint, named
from chat.v1.fields import TokenId
from chat.v1.messages import MessageIn, plain
from inference.errors import ModelNotFound
from inference.types import ModelKind


class ModelBody(Body):
    """model: left out, the first chat model."""

    model: str | None = None

    def name(self) -> str:
        """Raises ModelNotFound."""
        if self.model is not None:
            return self.model
        for info in engine.client().models():
            if info.state == "ready" and info.kind is ModelKind.CHAT:
                return info.name
        raise ModelNotFound("", [info.name for info in engine.client().models()])


class TokenizeRequest(ModelBody):
    """prompt with its special tokens (vLLM), content without (llama.cpp), or messages."""

    prompt: str | None = None
    content: str | None = None
    messages: list[MessageIn] | None = None
    add_special_tokens: bool = True
    add_special: bool = False
    add_generation_prompt: bool = True

    def encoded(self, codec: engine.PromptCodec) -> list[int]:
        """Raises InvalidRequest, InputTooLong, InvalidParameter."""
        if self.messages is not None:
            return codec.encode(rendered(codec, self.messages, self.add_generation_prompt))
        text = self.content if self.prompt is None else self.prompt
        if text is None:
            raise InvalidRequest(
                _("One of prompt, content and messages is needed."), param="prompt"
            )
        if len(text) > MAX_TEXT:
            raise InputTooLong("prompt", len(text))
        special = self.add_special if self.prompt is None else self.add_special_tokens
        return codec.encode(text, add_special_tokens=special)


class DetokenizeRequest(ModelBody):
    tokens: Annotated[list[TokenId], Field(max_length=MAX_TEXT)]


class TemplateRequest(ModelBody):
    messages: list[MessageIn]
    add_generation_prompt: bool = True


def rendered(codec: engine.PromptCodec, messages: list[MessageIn], generation: bool) -> str:
    return tool_prompt.rendered(codec, plain(messages), add_generation_prompt=generation)


def unknown(body: Body, messages: list[MessageIn] | None = None) -> list[str]:
    nested = [name for each in messages or [] for name in each.unknown("messages[].")]
    return body.unknown() + list(dict.fromkeys(nested))


@endpoint("POST")
async def tokenize(request: HttpRequest, caller: Caller) -> HttpResponseBase:
    body = read(request, TokenizeRequest)
    ignored = unknown(body, body.messages)
    codec = await engine.client().codec(body.name())
    ids = await asyncio.to_thread(body.encoded, codec)
    told = {"count": len(ids), "max_model_len": codec.context_length, "tokens": ids}
    return named(JsonResponse(told), ignored)


@endpoint("POST")
async def detokenize(request: HttpRequest, caller: Caller) -> HttpResponseBase:
    """Without special tokens, which have no text."""
    body = read(request, DetokenizeRequest)
    codec = await engine.client().codec(body.name())
    text = await asyncio.to_thread(codec.decode, body.tokens)
    return named(JsonResponse({"prompt": text, "content": text}), body.unknown())


@endpoint("POST")
async def apply_template(request: HttpRequest, caller: Caller) -> HttpResponseBase:
    body = read(request, TemplateRequest)
    ignored = unknown(body, body.messages)
    codec = await engine.client().codec(body.name())
    text = await asyncio.to_thread(rendered, codec, body.messages, body.add_generation_prompt)
    return named(JsonResponse({"prompt": text}), ignored)
