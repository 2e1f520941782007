"""Responses that are kept: an answer of one of the caller's sessions, whoever asked for it. Its id
is the message's."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from chat import engine
from chat.branches import branch
from chat.errors import ChatError, TurnInProgress
from chat.models import Generation, Message, Session, sessions_of
from chat.site_tools.kinds import Ran
from chat.v1.replies import Answer
from chat.v1.response_frames import Head, ResponseShape
from chat.v1.response_output import Output
from chat.v1.tool_reading import reader_again
from inference.types import Finished, Timings, TokenLogprobs

PREFIX = "resp_"
TOLD_AGAIN: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "user": None,
    "metadata": {},
    "text": {"format": {"type": "text"}},
    "top_logprobs": 0,
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
}
"""What a response repeats of its request, which the generation keeps, and what it says where nobody
asked for that."""


class ResponseNotFound(ChatError):
    """Also said of another person's. Fields: param, response_id."""

    code = "response_not_found"
    status = 404

    def __init__(self, name: str) -> None:
        super().__init__(
            _("There is no response %(id)s.") % {"id": name[:100]},
            param="response_id",
            response_id=name[:100],
        )


@dataclass(frozen=True, slots=True)
class Stored:
    """inputs: what was said between the response before it, whose id is `previous`, and itself."""

    message: Message
    generation: Generation
    inputs: Sequence[Message]
    previous: str | None

    @property
    def head(self) -> Head:
        its = self.generation
        return Head(
            self.name,
            model=its.model,
            created=self._rounds.get("created", int(its.created_at.timestamp())),
            params={name: its.sampling.get(name) for name in ("temperature", "top_p")},
            input_tokens=its.prompt_tokens,
            previous=self.previous,
            store=True,
            told_again={name: self._asked.get(name, value) for name, value in TOLD_AGAIN.items()},
        )

    @property
    def name(self) -> str:
        """Of several rounds the first one's (`chat.v1.tool_rounds`)."""
        earlier = _earlier(self.generation)
        return earlier[0] if earlier else self.message.id.hex

    @property
    def _asked(self) -> dict[str, Any]:
        return self.generation.request or {}

    @property
    def _rounds(self) -> dict[str, Any]:
        """What was before the last of several rounds."""
        rounds: dict[str, Any] = self._asked.get("rounds") or {}
        return rounds

    @property
    def _broken_off(self) -> dict[str, Any]:
        """How a pause between two rounds ended (`chat.v1.course`), where no other followed."""
        how: dict[str, Any] = self._asked.get("broken_off") or {}
        return how

    def shape(self, codec: engine.PromptCodec | None = None) -> ResponseShape:
        asked, rounds = self._asked, self._rounds
        output = Output(
            self.name,
            reader_again(asked.get("reading")),
            site=asked.get("site", ()),
            before=rounds.get("items", ()),
            results={id: Ran(**ran) for id, ran in self._broken_off.get("results", {}).items()},
        )
        return ResponseShape(self.head, output, codec, rounds.get("spent", (0, 0, 0)))

    def response(
        self, codec: engine.PromptCodec | None = None, logprobs: Sequence[TokenLogprobs] = ()
    ) -> dict[str, Any]:
        """codec and logprobs: of its tokens, which are told once and not kept."""
        shape, its = self.shape(codec), self.generation
        if its.status == Generation.Status.RUNNING:
            return shape.response(None)
        error = its.error or self._broken_off.get("error")
        answer = replace(self._answer(), logprobs=list(logprobs))
        return shape.whole(answer, error, broken_off=bool(self._broken_off))

    def items(self) -> list[dict[str, Any]]:
        """The inputs as OpenAI's clients read them."""
        if given := self._asked.get("input"):
            return [_item(each, f"{self.name}_{at}") for at, each in enumerate(given)]
        return [
            {
                "type": "message",
                "id": f"msg_{each.id.hex}",
                "status": "completed",
                "role": each.role,
                "content": [
                    {
                        "type": "input_text" if each.role == "user" else "output_text",
                        "text": each.content,
                    }
                ],
            }
            for each in self.inputs
        ]

    def _answer(self) -> Answer:
        its = self.generation
        stopped = its.status == Generation.Status.STOPPED
        reason: Any = "cancelled" if stopped else its.finish_reason
        finished = Finished(
            reason=reason,
            prompt_tokens=its.prompt_tokens,
            output_tokens=its.output_tokens,
            cached_tokens=its.cached_tokens,
            seed=its.seed or 0,
            timings=Timings(),
        )
        refused = its.finish_reason == "content_filter"
        said, length = self.message.content, its.output_tokens
        return Answer(said, length, finished=finished, refused=refused)


def _item(given: dict[str, Any], name: str) -> dict[str, Any]:
    """A call or what it gave has a prefix of its own; the text of a message is in parts."""
    kind = {"function_call": "fc", "function_call_output": "fco"}.get(given["type"], "msg")
    told = {"id": f"{kind}_{name}", "status": "completed", **given}
    if isinstance(told.get("content"), str):
        part = "output_text" if given.get("role") == "assistant" else "input_text"
        told["content"] = [{"type": part, "text": told["content"]}]
    return told


def name_of(message_id: uuid.UUID) -> str:
    return PREFIX + message_id.hex


def message_id_of(name: str) -> uuid.UUID:
    """Raises ResponseNotFound."""
    try:
        return uuid.UUID(hex=name.removeprefix(PREFIX))
    except ValueError:
        raise ResponseNotFound(name) from None


def session_of(name: str, *, owner_id: uuid.UUID) -> tuple[uuid.UUID, uuid.UUID]:
    """The ids of a response's session and last message. Raises ResponseNotFound."""
    message = _last_round(_message(message_id_of(name), owner_id))
    return message.session_id, message.id


def stored(message_id: uuid.UUID, *, owner_id: uuid.UUID) -> Stored:
    """Raises ResponseNotFound."""
    message = _last_round(_message(message_id, owner_id))
    generation = message.generations.order_by("created_at").last()
    if generation is None:  # imported
        raise ResponseNotFound(name_of(message_id))
    *before, message = branch(list(Message.objects.filter(session=message.session_id)), message.id)
    inputs, previous = [], None
    made = set(Generation.objects.filter(message__in=before).values_list("message_id", flat=True))
    for each in reversed(before):
        if each.id in made and each.id.hex not in _earlier(generation):
            wrote = each.generations.order_by("created_at").last()
            first = wrote and _earlier(wrote)
            previous = f"{PREFIX}{first[0]}" if first else name_of(each.id)
            break
        inputs.append(each)
    return Stored(message, generation, inputs[::-1], previous)


@transaction.atomic
def response_delete(message_id: uuid.UUID, *, owner_id: uuid.UUID) -> None:
    """Delete the answer with all that was said after it, and what it answers unless that has other
    answers too. A session of which nothing is left goes with it. Raises ResponseNotFound,
    TurnInProgress."""
    found = stored(message_id, owner_id=owner_id)
    session = Session.objects.select_for_update().get(id=found.message.session_id)
    if session.generations.filter(status=Generation.Status.RUNNING).exists():
        raise TurnInProgress(session.id)
    top = found.message
    for each in reversed(found.inputs):
        if each.children.exclude(id=top.id).exists():
            break
        top = each
    top.delete()
    if not session.messages.exists():
        session.delete()


def _last_round(message: Message) -> Message:
    """The answer in which a response ends that has begun, or has gone on, in this one."""
    after = Generation.objects.filter(message__parent__parent=message).select_related("message")
    for each in after:
        if _earlier(each)[-1:] == [message.id.hex]:
            return _last_round(each.message)
    return message


def _earlier(generation: Generation) -> list[str]:
    """Hexadecimal ids of the answers of earlier rounds."""
    earlier: list[str] = ((generation.request or {}).get("rounds") or {}).get("earlier", [])
    return earlier


def _message(message_id: uuid.UUID, owner_id: uuid.UUID) -> Message:
    answers = Message.objects.filter(role=Message.Role.ASSISTANT, session__in=sessions_of(owner_id))
    message = answers.filter(id=message_id).first()
    if message is None:
        raise ResponseNotFound(name_of(message_id))
    return message
