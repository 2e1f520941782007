"""POST /v1/messages and /v1/messages/count_tokens, as Anthropic's clients speak them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.translation import gettext as _
from pydantic import Field

from chat import engine, sampling
from chat.errors import InvalidRequest, WireError
from chat.submission import default_sampling
from chat.v1.anthropic_frames import events, failed, message
from chat.v1.anthropic_tools import ChoiceIn, Tools, messages_of, offer_of
from chat.v1.bodies import Body, read
from chat.v1.edge import Caller, endpoint, named, request_name
from chat.v1.fields import Stop
from chat.v1.messages import allowed, text_of
from chat.v1.running import Asked, unique
from chat.v1.sse import begun, event_stream, whole
from chat.v1.tool_prompt import insisted, rendered, syntax_of, tool_prompt
from chat.v1.tool_reading import Plain, reader_of
from chat.v1.tools import Offer
from inference.errors import ContextLengthExceeded
from inference.types import MAX_STOP_STRINGS, ModelKind

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class Turn(Body):
    role: Literal["user", "assistant"]
    content: Any


class CountRequest(Body):
    """system comes before all messages. A last message of the assistant's is the beginning of the
    answer, which goes on from there."""

    model: str
    messages: Annotated[list[Turn], Field(min_length=1)]
    system: Any = None
    tools: Tools | None = None
    tool_choice: ChoiceIn | None = None

    later: ClassVar[dict[str, tuple[Any, ...]]] = {
        "thinking": ({"type": "disabled"},),
        "mcp_servers": ([],),
        "container": (),
        "output_format": (),
        "output_config": ({},),
        "context_management": (),
    }

    def unknown(self, prefix: str = "") -> list[str]:
        nested = [
            name
            for index, turn in enumerate(self.messages)
            for name in turn.unknown(f"messages[{index}].")
        ]
        for index, tool in enumerate(self.tools or ()):
            nested += tool.unknown(f"tools[{index}].")
        return super().unknown(prefix) + nested

    def conversation(self) -> list[dict[str, Any]]:
        """[{role, content}, ...], neighbours of one role joined. Raises InvalidRequest,
        UnsupportedContent, InputTooLong, MessageRefused."""
        joined: list[dict[str, Any]] = []
        if self.system:
            joined.append({"role": "system", "content": text_of(self.system, "system")})
        for index, turn in enumerate(self.messages):
            for said in messages_of(turn.role, turn.content, f"messages[{index}].content"):
                if joined and _of_one(joined[-1], said):
                    joined[-1]["content"] += "\n" + said["content"]
                else:
                    joined.append(said)
        return allowed(joined)

    def offer(self) -> Offer | None:
        """Raises InvalidRequest, InputTooLong, MessageRefused."""
        return offer_of(self.tools or (), self.tool_choice)


class MessagesRequest(CountRequest):
    max_tokens: int
    stop_sequences: Annotated[list[Stop], Field(max_length=MAX_STOP_STRINGS)] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    metadata: dict[str, Any] | None = None

    def asked(
        self, name: str, tenant: str, codec: engine.PromptCodec, offer: Offer | None
    ) -> Asked:
        """Raises InvalidParameter, and what `conversation` and `prompt_of` raise."""
        prompt = prompt_of(codec, self.conversation(), offer)
        given = self.given("max_tokens", "temperature", "top_p", "top_k")
        given["stop"] = self.stop_sequences
        return Asked(
            name=unique(name),
            model=self.model,
            prompts=(tuple(prompt[0]),),
            sampling=insisted(sampling.merged(default_sampling(self.model), given), offer, codec),
            tenant=tenant,
            answer_start=prompt[1],
        )


_Prompt = tuple[list[int], int | None]


def _of_one(before: dict[str, Any], said: dict[str, Any]) -> bool:
    """Two texts of one role, and nothing but texts."""
    return before["role"] == said["role"] != "tool" and not {"tool_calls"} & {*before, *said}


def prompt_of(
    codec: engine.PromptCodec,
    conversation: Sequence[dict[str, Any]],
    offer: Offer | None = None,
) -> _Prompt:
    """The tokens to read, and where among them an answer that has begun begins. Raises
    InvalidRequest, ContextLengthExceeded, InvalidParameter."""
    *before, last = conversation
    if last["role"] != "assistant" or codec.kind is ModelKind.COMPLETION:
        return tool_prompt(codec, conversation, offer), None
    if not before:
        raise InvalidRequest(_("The first message must be a user's."), param="messages")
    if "tool_calls" in last or (offer and offer.called):
        raise InvalidRequest(
            _("An answer that has begun is gone on with as text: it calls no tool."),
            param="messages",
        )
    head = rendered(codec, before, offer)
    ids, start = codec.encode(head + last["content"]), codec.encode(head)
    if len(ids) >= codec.context_length:
        raise ContextLengthExceeded(len(ids), codec.context_length)
    apart = ids[: len(start)] == start and len(ids) > len(start)
    return ids, len(start) if apart else None


def envelope(error: WireError) -> dict[str, Any]:
    """{"type": "error", "error": {type, message}}."""
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": error.message}}


@endpoint("POST", envelope)
async def messages(request: HttpRequest, caller: Caller) -> HttpResponseBase:
    body = read(request, MessagesRequest)
    unknown, offer = body.unknown(), body.offer()
    codec = await engine.client().codec(body.model)
    asked = await asyncio.to_thread(
        body.asked, request_name(request), str(caller.owner_id), codec, offer
    )
    make = partial(reader_of, offer, syntax_of(codec.tools_template)) if offer else Plain
    if body.stream:
        frames = events(await begun(asked), asked, make())
        response: HttpResponseBase = event_stream(frames, lambda error: failed(error, envelope))
    else:
        response = JsonResponse(message(asked, (await whole(asked)).each[0], make()))
    return named(response, unknown)


@endpoint("POST", envelope)
async def count_tokens(request: HttpRequest, caller: Caller) -> HttpResponseBase:
    body = read(request, CountRequest)
    unknown, offer = body.unknown(), body.offer()
    codec = await engine.client().codec(body.model)
    ids, _start = await asyncio.to_thread(lambda: prompt_of(codec, body.conversation(), offer))
    return named(JsonResponse({"input_tokens": len(ids)}), unknown)
