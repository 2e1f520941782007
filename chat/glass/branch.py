"""Another answer that begins as one that is there, goes on with a token of a person's choice, and
is written on by the model from there."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace

from django.utils.translation import gettext as _

from chat import sampling, services
from chat.beginning import Begun, Run, begun, plan_of
from chat.engine import PromptCodec
from chat.errors import InvalidRequest, ModelChanged
from chat.files.selectors import passages_of
from chat.files.services import Shown
from chat.glass.inspect import changes, check_index
from chat.glass.written import Written
from inference.errors import ContextLengthExceeded

_REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True)
class TokenBranch:
    """index: of the token of `message_id` in whose place `token_id` comes."""

    session_id: uuid.UUID
    message_id: uuid.UUID
    index: int
    token_id: int


def branch_turn(run: Run, *, owner_id: uuid.UUID, branch: TokenBranch, found: Written) -> Begun:
    """Raises InvalidRequest, ModelChanged, ContextLengthExceeded, and what `turn_regenerate`
    raises."""
    check_index(found, branch.index)
    if {"tokenizer", "template"} & set(changes(run.codec, found)):
        raise ModelChanged(found.model)
    _check_token(run.codec, branch.token_id)
    given = [*found.ids[: branch.index], branch.token_id]
    ids = [*found.context, *given]
    if len(ids) >= run.codec.context_length:
        raise ContextLengthExceeded(len(ids), run.codec.context_length)
    part = found.part(branch.index)
    params = sampling.from_json(part.sampling)
    passages = passages_of(message_id=found.parent_id)
    shown = Shown((), "", 0, passages) if passages else None
    plan = replace(
        plan_of(run, found.model, ids, params, part.context, shown),
        content=settled(run.codec.decode(given)),
        prefix_offsets=found.starts[: branch.index + 1],
    )
    started = services.turn_regenerate(
        owner_id=owner_id, session_id=branch.session_id, parent_id=found.parent_id, plan=plan
    )
    return begun(owner_id, started, plan, params, len(found.context))


def settled(text: str) -> str:
    """Without a last character that the next token may complete: the engine tells that one."""
    return text[:-1] if text.endswith(_REPLACEMENT) else text


def _check_token(codec: PromptCodec, token_id: int) -> None:
    if not codec.name(token_id):
        raise InvalidRequest(
            _("The vocabulary of this model has no token %(id)d.") % {"id": token_id},
            param="token_id",
        )
    if token_id in codec.eos_ids:
        raise InvalidRequest(
            _("This token ends an answer: there is nothing to go on with after it."),
            param="token_id",
        )
