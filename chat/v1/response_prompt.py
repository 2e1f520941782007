"""What a call of /v1/responses says, as a message on its way into a session, or as a prompt that
goes on from one and is not kept.

The tables hold what people and models say. What a system message of the first call's input says is
the session's system prompt, and holds for all of it; `instructions` hold for one call, as OpenAI
has it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Protocol

from django.utils.translation import gettext as _

from chat import engine
from chat.context.reading import Asked, opened, read
from chat.errors import InvalidRequest, TurnInProgress
from chat.prompt_selectors import PromptContext, prompt_context
from chat.prompting import Message, first_prompt
from chat.session_settings.values import system_prompt, when_full
from chat.submission import Submission, Wording, check_kept
from chat.v1.course import course_in
from chat.v1.output_form import only
from chat.v1.stored import message_id_of, session_of, stored
from chat.v1.tool_prompt import in_words, insisted, syntax_of
from chat.v1.tool_reading import kept_reading
from chat.v1.tool_wording import wording
from chat.v1.tools import Offer
from inference.types import SamplingParams


class Call(Protocol):
    """What is needed of a `ResponseRequest`."""

    model: str
    instructions: str | None
    previous_response_id: str | None
    max_output_tokens: int | None

    @property
    def logprobs(self) -> int | None: ...
    def said(self) -> list[Message]: ...
    def items(self) -> list[dict[str, Any]]: ...
    @property
    def runs_tools(self) -> bool: ...
    def offer(self) -> Offer | None: ...
    def sampling(self) -> dict[str, Any]: ...
    def told_again(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Told:
    """What one model hears of a call. said: the input as messages. wording: where there are tools
    or calls in it. reading: how calls are found in the answer (`kept_reading`), None: there are
    none."""

    codec: engine.PromptCodec
    said: list[Message]
    offer: Offer | None
    wording: Wording | None
    reading: dict[str, Any] | None

    @classmethod
    def of(cls, call: Call, codec: engine.PromptCodec) -> Told:
        """Raises InvalidRequest, UnsupportedContent, InputTooLong, MessageRefused,
        InvalidParameter."""
        said, offer = call.said(), call.offer()
        has_calls = any(each["role"] == "tool" or "tool_calls" in each for each in said)
        put = wording(codec, offer) if offer or has_calls else None
        free = offer and not offer.called and call.sampling().get("constraint") is not None
        reading = kept_reading(offer, syntax_of(codec.tools_template)) if offer else None
        return cls(codec, said, offer, put, None if free else reading)

    def params(self, params: SamplingParams) -> SamplingParams:
        """With the form of the call that is insisted on. Raises InvalidRequest."""
        return insisted(params, self.offer, self.codec)


def submission_of(call: Call, told: Told, *, owner_id: uuid.UUID) -> Submission:
    """Raises InvalidRequest, UnsupportedContent, InputTooLong, MessageRefused, ResponseNotFound,
    TurnInProgress."""
    said, session_id, parent_id = told.said, None, None
    settings: dict[str, Any] | None = None
    if call.previous_response_id:
        session_id, parent_id = _end_of(call.previous_response_id, owner_id)
        _refuse_system(said)
    else:
        front = list(takewhile(lambda each: each["role"] == "system", said))
        settings = {"system_prompt": _joined(each["content"] for each in front)}
        said = said[len(front) :]
        _refuse_system(said, first=len(front))
    if not said or said[-1]["role"] not in ("user", "tool"):
        raise InvalidRequest(
            _("The input must end with a user's message or the output of a function."),
            param="input",
        )
    _check_results(call, said, owner_id)
    again = _request(call, told)
    kept = in_words(said, ()) if told.wording else said
    _check(kept, again)
    *history, last = kept
    constraint = insisted(SamplingParams(), told.offer, told.codec).constraint
    given = call.sampling()
    return Submission(
        text=last["content"],
        model=call.model,
        session_id=session_id,
        parent_id=parent_id,
        attended=True,
        sampling={**given, "constraint": only(given["constraint"], constraint)},
        settings=settings,
        history=tuple(history),
        system=call.instructions or "",
        request=again,
        wording=told.wording,
        spoken=tuple(said) if told.wording else (),
        logprobs=call.logprobs,
    )


def _end_of(name: str, owner_id: uuid.UUID) -> tuple[uuid.UUID, uuid.UUID]:
    """As `session_of`, of a response that is over. Raises ResponseNotFound, TurnInProgress."""
    session_id, message_id = session_of(name, owner_id=owner_id)
    if course_in(session_id):
        raise TurnInProgress(session_id)
    return session_id, message_id


def _request(call: Call, told: Told) -> dict[str, Any]:
    """What is kept of the call beside its messages. site: tools that the site runs."""
    again = {**call.told_again(), "reading": told.reading}
    if told.wording:
        again["input"] = call.items()
    if told.offer and call.runs_tools:
        again["site"] = sorted(told.offer.names)
    return again


def prompt_of(call: Call, told: Told, *, owner_id: uuid.UUID) -> list[int]:
    """Raises as `submission_of` does, and ContextLengthExceeded, InvalidParameter."""
    said, instructions, put = told.said, call.instructions or "", told.wording
    _check_results(call, said, owner_id)
    codec = put.codec if put else told.codec
    how = Asked(codec, call.model, opening=put.opening if put else ())
    if not call.previous_response_id:
        front = [{"role": "system", "content": instructions}] if instructions else []
        return opened(how, first_prompt(codec, [*front, *said]))
    _refuse_system(said)
    context = _context(call.previous_response_id, owner_id)
    how = replace(
        how,
        system_prompt=_joined([instructions, system_prompt(context.settings)]),
        when_full=when_full(context.settings),
        max_tokens=call.max_output_tokens,
        tools=put.mark if put else "",
    )
    return read(how, context, [*context.messages, *said]).ids


def _context(name: str, owner_id: uuid.UUID) -> PromptContext:
    session_id, message_id = session_of(name, owner_id=owner_id)
    its = {"session_id": session_id, "parent_id": message_id}
    return prompt_context(owner_id=owner_id, newest=False, **its)


def _joined(texts: Any) -> str:
    return "\n\n".join(filter(None, texts))


def _refuse_system(said: Sequence[Mapping[str, Any]], first: int = 0) -> None:
    for index, each in enumerate(said, start=first):
        if each["role"] == "system":
            raise InvalidRequest(
                _(
                    "System messages stand in front of the first call's input, since they hold for "
                    "all of a conversation that is kept. For one call there are instructions."
                ),
                param=f"input[{index}].role",
            )


def _check_results(call: Call, said: Sequence[Message], owner_id: uuid.UUID) -> None:
    """Raises InvalidRequest for what a function gave that nobody called, ResponseNotFound."""
    results = [each["tool_call_id"] for each in said if each["role"] == "tool"]
    if not results:
        return
    called = [each["id"] for message in said for each in message.get("tool_calls", ())]
    if call.previous_response_id:
        its = stored(message_id_of(call.previous_response_id), owner_id=owner_id)
        called += [item.get("call_id") for item in its.response()["output"]]
    for id in results:
        if id not in called:
            raise InvalidRequest(
                _("There is no call %(id)s in the input or the previous response.")
                % {"id": repr(id)[:100]},
                param="input",
            )


def _check(kept: Sequence[Message], again: Mapping[str, Any]) -> None:
    """Raises InvalidRequest for what a database does not take."""
    for each in kept:
        check_kept("input", each["content"])
    for name, value in again.items():
        check_kept("text.format" if name == "text" else name, value)
