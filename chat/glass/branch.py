"""Another answer that begins as one that is there, or as a person has rewritten it, and is written
on by the model from there."""

from __future__ import annotations

import uuid
from bisect import bisect_right
from dataclasses import dataclass, replace

from django.utils.translation import gettext as _

from chat import filtering, sampling, services
from chat.beginning import Begun, Run, begun, plan_of, request_of
from chat.engine import PromptCodec
from chat.errors import InvalidRequest, ModelChanged
from chat.files.selectors import passages_of
from chat.files.services import Shown
from chat.glass.inspect import changes, check_index
from chat.glass.written import Part, Written
from chat.prompting import encode_after_text
from chat.submission import check_text
from inference.errors import ContextLengthExceeded

_REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True)
class TokenBranch:
    """index: of the token of `message_id` in whose place `token_id` comes."""

    session_id: uuid.UUID
    message_id: uuid.UUID
    index: int
    token_id: int


@dataclass(frozen=True, slots=True)
class Rewrite:
    """text: what the answer begins with, in place of what `message_id` says. client_id: the
    sender's name for it."""

    session_id: uuid.UUID
    message_id: uuid.UUID
    text: str
    client_id: str


@dataclass(frozen=True, slots=True)
class _Beginning:
    """Of an answer: its tokens, where the text of each begins in `text`, and the part of the old
    answer whose sampling goes on."""

    ids: list[int]
    starts: list[int]
    text: str
    part: Part


def branch_turn(
    run: Run, *, owner_id: uuid.UUID, branch: TokenBranch | Rewrite, found: Written
) -> Begun:
    """Raises InvalidRequest, EmptyInput, InputTooLong, ModelChanged, ContextLengthExceeded, and
    what `turn_regenerate` raises."""
    if isinstance(branch, TokenBranch):
        check_index(found, branch.index)
    if {"tokenizer", "template"} & set(changes(run.codec, found)):
        raise ModelChanged(found.model)
    given = (
        _chosen(run.codec, branch, found)
        if isinstance(branch, TokenBranch)
        else _rewritten(run.codec, branch, found)
    )
    ids = [*found.context, *given.ids]
    if len(ids) >= run.codec.context_length:
        raise ContextLengthExceeded(len(ids), run.codec.context_length)
    params = sampling.from_json(given.part.sampling)
    passages = passages_of(message_id=found.parent_id)
    shown = Shown((), "", 0, passages) if passages else None
    plan = replace(
        plan_of(run, found.model, ids, params, given.part.context, shown),
        content=given.text,
        prefix_offsets=given.starts,
    )
    started = services.turn_regenerate(
        owner_id=owner_id,
        session_id=branch.session_id,
        parent_id=found.parent_id,
        plan=plan,
        client_id=None if isinstance(branch, TokenBranch) else branch.client_id,
    )
    answer_start = len(found.context)
    return begun(started, request_of(owner_id, started.session_id, plan, params, answer_start))


def _chosen(codec: PromptCodec, branch: TokenBranch, found: Written) -> _Beginning:
    _check_token(codec, branch.token_id)
    ids = [*found.ids[: branch.index], branch.token_id]
    starts = found.starts[: branch.index + 1]
    return _Beginning(ids, starts, settled(codec.decode(ids)), found.part(branch.index))


def _rewritten(codec: PromptCodec, branch: Rewrite, found: Written) -> _Beginning:
    """The old tokens as far as the text is the old one, so that what is in the cache is found; the
    tokens of the rest behind them."""
    check_text(branch.text)
    text = filtering.incoming(branch.text)
    same = _length_in_common(found.content, text)
    ends = [*found.starts[1:], len(found.content)]
    kept = bisect_right(ends, same)
    # a token without text begins a character that a later one completes
    while kept and ends[kept - 1] == found.starts[kept - 1]:
        kept -= 1
    cut = ends[kept - 1] if kept else 0
    rest = encode_after_text(codec, text[cut:]) if text[cut:] else []
    before = (found.ids[kept - 1] if kept else found.context[-1],)
    starts = [*found.starts[:kept], *_starts(codec, before, rest, cut, len(text))]
    return _Beginning([*found.ids[:kept], *rest], starts, text, found.parts[0])


def _length_in_common(one: str, other: str) -> int:
    shorter = min(len(one), len(other))
    return next((i for i in range(shorter) if one[i] != other[i]), shorter)


def _starts(
    codec: PromptCodec, before: tuple[int, ...], ids: list[int], start: int, end: int
) -> list[int]:
    """Where the text of each token begins, behind the token `before`, with the first at `start`."""
    starts: list[int] = []
    head, waiting = codec.decode(before), list[int]()
    for token in ids:
        starts.append(min(start, end))
        waiting.append(token)
        text = codec.decode([*before, *waiting])
        if not text.endswith(_REPLACEMENT):
            start += len(text) - len(head)
            before, head, waiting = (token,), codec.decode([token]), []
    return starts


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
