"""REST: the tokens of an answer, and how likely they were."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema

from chat.accounts.callers import owner_of
from chat.errors import MessageNotFound
from chat.glass.inspect import odds_of, tokens_of
from chat.schemas import ErrorOut

router = Router()
_REFUSALS = dict.fromkeys((400, 401, 404, 409, 500, 503), ErrorOut)


class TokenOut(Schema):
    id: int
    start: int = Field(description="Where its text begins in the answer, in characters.")
    text: str = Field(description='"" where a later token completes its character.')
    name: str = Field(description="By itself: its text, its bytes or its name.")
    ends: bool = Field(description="Whether it ends an answer.")


class TokensOut(Schema):
    message_id: uuid.UUID
    model: str
    tokens: list[TokenOut]


class ChanceOut(Schema):
    id: int
    text: str
    raw: float = Field(description="Probability as the model gave it.")
    sampled: float = Field(
        description="Probability after penalties, temperature, top-k, top-p and min-p."
    )
    ends: bool


class OddsOut(Schema):
    index: int
    token: ChanceOut
    rank: int = Field(description="1 for the most likely one, by the model's own distribution.")
    entropy: float = Field(description="Of the model's own distribution, in bits.")
    alternatives: list[ChanceOut] = Field(description="The ten most likely ones.")
    given: bool = Field(description="Whether it was chosen by a person, or came before such a one.")


class OddsListOut(Schema):
    message_id: uuid.UUID
    changed: list[str] = Field(
        description="Parts of the model that are others now than when the answer was written."
    )
    tokens: list[OddsOut]


@router.get("/messages/{message_id}/tokens", response={200: TokensOut, **_REFUSALS})
async def tokens(request: HttpRequest, message_id: str) -> Any:
    """The tokens of an answer with their places in its text. Nothing is computed for it."""
    return await tokens_of(owner_id=owner_of(request), message_id=_uuid(message_id))


@router.get("/messages/{message_id}/tokens/{index}", response={200: OddsListOut, **_REFUSALS})
async def odds(request: HttpRequest, message_id: str, index: int, count: int = 1) -> Any:
    """How likely a token was, and what else might have come: computed now, from the stored tokens,
    between the steps of answers that are being written. `count`: so many tokens from this one
    on, at most 32."""
    return await odds_of(
        owner_id=owner_of(request), message_id=_uuid(message_id), index=index, count=count
    )


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise MessageNotFound(text[:100]) from None
