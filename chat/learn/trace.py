"""A forward pass that is looked at: a short text in, all numbers of the page out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.utils.translation import gettext as _

from chat import engine
from chat.errors import EmptyInput, InvalidRequest, check_unicode
from chat.glass.token_text import token_text
from inference.types import SamplingParams

MAX_CHARACTERS = 1000
_DIGITS = 5


async def traced(
    *,
    model: str,
    text: str,
    ids: Sequence[int],
    layer: int,
    head: int,
    sampling: SamplingParams,
) -> dict[str, Any]:
    """Of `ids`, or of the text where there are none. Raises EmptyInput, InvalidRequest,
    EngineError."""
    codec = await engine.client().codec(model)
    tokens = list(ids) or _encoded(codec, text)
    if len(tokens) > engine.MAX_TRACED:
        raise InvalidRequest(
            _("The text has %(count)d tokens; this page shows at most %(limit)d.")
            % {"count": len(tokens), "limit": engine.MAX_TRACED},
            param="input",
        )
    question = engine.TraceRequest(tuple(tokens), layer, head, sampling)
    trace = await engine.client().examine(model, question)
    assert isinstance(trace, engine.Trace)
    shown = {id for id, _logit in trace.logits} | {trace.token, *tokens}
    told: dict[str, Any] = _rounded(asdict(trace))
    return told | {
        "ids": tokens,
        "text": codec.decode(tokens),
        "limit": engine.MAX_TRACED,
        "ends": trace.token in codec.eos_ids,
        "texts": {str(id): token_text(codec, id) for id in shown},
    }


def _encoded(codec: engine.PromptCodec, text: str) -> list[int]:
    if not text.strip():
        raise EmptyInput("input")
    if len(text) > MAX_CHARACTERS:
        raise InvalidRequest(
            _("The text has %(count)d characters; this page reads at most %(limit)d.")
            % {"count": len(text), "limit": MAX_CHARACTERS},
            param="input",
        )
    check_unicode("input", text)
    ids = codec.encode(text, add_special_tokens=True)
    if not ids:
        raise EmptyInput("input")
    return ids


def _rounded(value: Any) -> Any:
    """Numbers with as many digits as can be seen."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
