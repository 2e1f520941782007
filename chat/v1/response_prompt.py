"""What a call of /v1/responses says, as a message on its way into a session, or as a prompt that
goes on from one and is not kept.

The tables hold what people and models say. What a system message of the first call's input says is
the session's system prompt, and holds for all of it; `instructions` hold for one call, as OpenAI
has it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, Protocol

from django.utils.translation import gettext as _

from chat import engine
from chat.context.reading import Asked, read
from chat.errors import InvalidRequest, check_unicode
from chat.prompt_selectors import PromptContext, prompt_context
from chat.prompting import first_prompt
from chat.session_settings.values import system_prompt, when_full
from chat.submission import Submission, check_kept
from chat.v1.stored import session_of


class Call(Protocol):
    """What is needed of a `ResponseRequest`."""

    model: str
    instructions: str | None
    previous_response_id: str | None
    max_output_tokens: int | None

    def said(self) -> list[dict[str, Any]]: ...
    def sampling(self) -> dict[str, Any]: ...
    def told_again(self) -> dict[str, Any]: ...


def submission_of(call: Call, *, owner_id: uuid.UUID) -> Submission:
    """Raises InvalidRequest, UnsupportedContent, InputTooLong, MessageRefused, ResponseNotFound."""
    said, session_id, parent_id = call.said(), None, None
    settings: dict[str, Any] | None = None
    if call.previous_response_id:
        session_id, parent_id = session_of(call.previous_response_id, owner_id=owner_id)
        _refuse_system(said)
    else:
        front = list(takewhile(lambda each: each["role"] == "system", said))
        settings = {"system_prompt": _joined(each["content"] for each in front)}
        said = said[len(front) :]
        _refuse_system(said, first=len(front))
    if not said or said[-1]["role"] != "user":
        raise InvalidRequest(_("The last message of the input must be a user's."), param="input")
    for name, text in _texts(call, said):
        check_unicode(name, text)
    check_kept("text.format", call.told_again()["text"])
    *history, last = said
    return Submission(
        text=last["content"],
        model=call.model,
        session_id=session_id,
        parent_id=parent_id,
        attended=True,
        sampling=call.sampling(),
        settings=settings,
        history=tuple(history),
        system=call.instructions or "",
        request=call.told_again(),
    )


def prompt_of(call: Call, codec: engine.PromptCodec, *, owner_id: uuid.UUID) -> list[int]:
    """Raises as `submission_of` does, and ContextLengthExceeded, InvalidParameter."""
    said, instructions = call.said(), call.instructions or ""
    if not call.previous_response_id:
        front = [{"role": "system", "content": instructions}] if instructions else []
        return first_prompt(codec, [*front, *said])
    _refuse_system(said)
    context = _context(call.previous_response_id, owner_id)
    system = _joined([instructions, system_prompt(context.settings)])
    full = when_full(context.settings)
    how = Asked(codec, call.model, system, full, call.max_output_tokens)
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


def _texts(call: Call, said: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    again = call.told_again()
    named = [("input", each["content"]) for each in said]
    named += [(name, again[name]) for name in ("instructions", "user") if again[name]]
    return named + [("metadata", text) for pair in again["metadata"].items() for text in pair]
