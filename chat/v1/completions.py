"""POST /v1/completions: text that goes on, for one prompt or several."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, ClassVar

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.translation import gettext as _
from pydantic import Field

from chat import engine, filtering
from chat.errors import MAX_TEXT, InputTooLong, InvalidRequest
from chat.v1.bodies import read
from chat.v1.edge import Caller, endpoint, named, request_name
from chat.v1.fields import MAX_CHOICES, TextRequest, TokenId
from chat.v1.logprobs import Top, check_filters
from chat.v1.replies import Head, system_fingerprint
from chat.v1.running import Asked, unique
from chat.v1.shapes import CompletionShape
from chat.v1.sse import begun, chunks, error_frame, event_stream, whole
from inference.errors import ContextLengthExceeded

DEFAULT_MAX_TOKENS = 16
"""As OpenAI has it: of text that merely goes on, nobody knows an end."""
Ids = Annotated[list[TokenId], Field(min_length=1)]


class CompletionRequest(TextRequest):
    prompt: str | Ids | Annotated[list[str | Ids], Field(min_length=1, max_length=MAX_CHOICES)]
    echo: bool | None = None
    logprobs: Top | None = None

    later: ClassVar[dict[str, tuple[Any, ...]]] = {
        **TextRequest.later,
        "best_of": (1,),
        "suffix": ("",),
    }

    def unknown(self, prefix: str = "") -> list[str]:
        if self.logprobs is not None:
            check_filters("logprobs")
        return super().unknown(prefix)

    @property
    def of_prompts(self) -> int | None:
        """How many likelier tokens are told of beside those of the prompts."""
        asked = [self.prompt_logprobs, self.logprobs if self.echo else None]
        return max((top for top in asked if top is not None), default=None)

    def prompts(self) -> list[str | list[int]]:
        """Raises InvalidRequest where all answers together are too many."""
        several = isinstance(self.prompt, list) and not isinstance(self.prompt[0], int)
        found: Any = self.prompt if several else [self.prompt]
        if len(found) * (self.n or 1) > MAX_CHOICES:
            raise InvalidRequest(
                _("%(count)d answers are too many: at most %(limit)d are written at once.")
                % {"count": len(found) * (self.n or 1), "limit": MAX_CHOICES},
                param="n",
            )
        prompts: list[str | list[int]] = found
        return prompts


def tokens(codec: engine.PromptCodec, prompts: list[str | list[int]]) -> list[list[int]]:
    """Raises InputTooLong, MessageRefused, InvalidRequest, ContextLengthExceeded."""
    length = sum(map(len, prompts))
    if length > MAX_TEXT:
        raise InputTooLong("prompt", length)
    return [_tokens(codec, prompt) for prompt in prompts]


def _tokens(codec: engine.PromptCodec, prompt: str | list[int]) -> list[int]:
    text = prompt if isinstance(prompt, str) else codec.decode(prompt)
    said = filtering.incoming(text)
    if isinstance(prompt, str) or said != text:
        ids = codec.encode(said, add_special_tokens=True)
    else:
        ids = prompt
    if not ids:
        raise InvalidRequest(_("The prompt is empty: it has no tokens."), param="prompt")
    if len(ids) >= codec.context_length:
        error = ContextLengthExceeded(len(ids), codec.context_length)
        error.fields["param"] = "prompt"
        raise error
    return ids


@endpoint("POST")
async def completions(request: HttpRequest, caller: Caller) -> HttpResponseBase:
    body = read(request, CompletionRequest)
    unknown, prompts, copies = body.unknown(), body.prompts(), body.n or 1
    # the engine ends an answer with a token at least
    limit = DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens or 1
    params = body.sampling(limit)
    codec = await engine.client().codec(body.model)
    ids = await asyncio.to_thread(tokens, codec, prompts)
    asked = Asked(
        name=unique(request_name(request)),
        model=body.model,
        prompts=tuple(map(tuple, ids)),
        sampling=params,
        tenant=str(caller.owner_id),
        copies=copies,
        priority=body.priority or 0,
        logprobs=body.logprobs,
        prompt_logprobs=body.of_prompts,
        writes=body.max_tokens != 0,
    )
    said = [each if isinstance(each, str) else codec.decode(each) for each in prompts]
    echoes = [text if body.echo else "" for text in said for _copy in range(copies)]
    head = Head(f"cmpl-{asked.name}", body.model, system_fingerprint(codec))
    shape = CompletionShape(
        head,
        codec,
        with_usage=body.include_usage,
        echoes=echoes,
        told=body.logprobs is not None,
        prompt_top=body.prompt_logprobs,
    )
    if body.stream:
        frames = chunks(await begun(asked), asked, shape, with_usage=body.include_usage)
        return named(event_stream(frames, error_frame), unknown)
    return named(JsonResponse(shape.whole(await whole(asked))), unknown)
