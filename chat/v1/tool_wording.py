"""A conversation of the site's, put to a model that is told of tools: the model's own codec, whose
chat template is given them too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, cast

from chat.engine import PromptCodec
from chat.submission import Wording
from chat.v1.tool_prompt import Message, rendered, syntax_of
from chat.v1.tools import Offer
from inference.errors import InvalidParameter
from inference.types import ModelKind


class _ToolCodec:
    """All else is the model's."""

    def __init__(self, codec: PromptCodec, offer: Offer | None) -> None:
        self._codec, self._offer = codec, offer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codec, name)

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        shown = list(messages)
        return rendered(
            self._codec, shown, self._offer, add_generation_prompt=add_generation_prompt
        )


def wording(codec: PromptCodec, offer: Offer | None) -> Wording:
    """offer: None where nothing is offered and the conversation has calls in it. Raises
    InvalidParameter."""
    if offer and codec.kind is ModelKind.COMPLETION:
        raise InvalidParameter("tools", len(offer.tools), "left out: this model continues text")
    opening = syntax_of(codec.tools_template).opening if offer and offer.called else ""
    told = json.dumps([tool.told() for tool in offer.tools]) if offer else ""
    return Wording(
        codec=cast(PromptCodec, _ToolCodec(codec, offer)),
        mark=hashlib.sha256(told.encode()).hexdigest()[:16] if told else "",
        opening=tuple(codec.encode(opening)) if opening else (),
    )
