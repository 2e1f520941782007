"""How likely the tokens of an answer were, computed anew by the model that is here now."""

from __future__ import annotations

import uuid
from typing import Any

from django.utils.translation import gettext as _

from chat import engine, sampling
from chat.database import in_database
from chat.errors import InvalidRequest, ModelChanged
from chat.glass.token_text import token_text
from chat.glass.written import Written, written
from inference.errors import EngineError

MAX_COUNT = 32
"""Tokens that are told of in one answer."""


async def tokens_of(*, owner_id: uuid.UUID, message_id: uuid.UUID) -> dict[str, Any]:
    """The tokens of an answer, each with its place in the text. Nothing is computed. Raises
    MessageNotFound."""
    found = await in_database(written, owner_id=owner_id, message_id=message_id)
    try:
        codec = await engine.client().codec(found.model)
        names = {id: token_text(codec, id) for id in set(found.ids)}
        ends: frozenset[int] = codec.eos_ids
    except EngineError:  # what was written can be read without the model
        names, ends = {}, frozenset()
    tokens = [
        {
            "id": id,
            "start": found.starts[index],
            "text": found.text(index),
            "name": names.get(id, found.text(index)),
            "ends": id in ends,
        }
        for index, id in enumerate(found.ids)
    ]
    return {"message_id": found.message_id, "model": found.model, "tokens": tokens}


async def odds_of(
    *, owner_id: uuid.UUID, message_id: uuid.UUID, index: int, count: int
) -> dict[str, Any]:
    """The odds of `count` tokens from `index` on. changed: the parts of the model that are others
    now than when the answer was written. Raises MessageNotFound, InvalidRequest, ModelChanged,
    EngineError."""
    found = await in_database(written, owner_id=owner_id, message_id=message_id)
    check_index(found, index)
    if not 1 <= count <= MAX_COUNT:
        raise InvalidRequest(
            _("%(name)s must be %(allowed)s.")
            % {"name": "count", "allowed": _("a number from 1 to %(n)d") % {"n": MAX_COUNT}},
            param="count",
        )
    codec = await engine.client().codec(found.model)
    changed = changes(codec, found)
    if "tokenizer" in changed:
        raise ModelChanged(found.model)
    inspected = await _inspected(found, index, count)
    tokens = [
        {
            "index": index + place,
            "token": _told(codec, odds.token),
            "rank": odds.rank,
            "entropy": odds.entropy,
            "alternatives": [_told(codec, other) for other in odds.alternatives],
            "given": index + place < found.parts[0].first,
        }
        for place, odds in enumerate(inspected)
    ]
    return {"message_id": found.message_id, "changed": changed, "tokens": tokens}


def check_index(found: Written, index: int) -> None:
    """Raises InvalidRequest for a token that the answer does not have."""
    if not 0 <= index < len(found.ids):
        raise InvalidRequest(
            _("The answer has %(count)d tokens, counted from 0: there is no token %(index)d.")
            % {"count": len(found.ids), "index": index},
            param="index",
        )


def changes(codec: engine.PromptCodec, found: Written) -> list[str]:
    """Parts of the model's fingerprint that are others now."""
    now = engine.fingerprint(codec)
    return sorted(part for part in now if now[part] != found.fingerprint.get(part, ""))


async def _inspected(found: Written, index: int, count: int) -> list[engine.TokenOdds]:
    """A run of tokens that one generation wrote has one distribution; another one's is asked for
    apart."""
    told: list[engine.TokenOdds] = []
    end = min(index + count, len(found.ids))
    while index < end:
        part = found.part(index)
        stop = next((p.first for p in found.parts[1:] if index < p.first < end), end)
        question = engine.Inspection(
            ids=(*found.context, *found.ids[:stop]),
            first=len(found.context) + index,
            answer_start=len(found.context),
            sampling=sampling.from_json(part.sampling),
            session=str(found.session_id),
        )
        answer = await engine.client().examine(found.model, question)
        assert isinstance(answer, engine.Inspected)
        told += answer.tokens
        index = stop
    return told


def _told(codec: engine.PromptCodec, token: engine.Alternative) -> dict[str, Any]:
    return {
        "id": token.id,
        "text": token_text(codec, token.id),
        "raw": token.raw,
        "sampled": token.sampled,
        "ends": token.id in codec.eos_ids,
    }
