"""REST: the numbers of one forward pass."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema

from chat.learn.trace import traced
from chat.schemas import ErrorOut
from inference.types import SamplingParams

router = Router()
_REFUSALS = dict.fromkeys((400, 401, 404, 413, 415, 500, 503), ErrorOut)


class TraceIn(Schema):
    model: str = "story"
    input: str = Field("", description="A short text.")
    ids: list[int] = Field([], description="Its tokens instead, at most 64.", max_length=1000)
    layer: int = Field(0, description="Shown from inside, with this head.")
    head: int = 0
    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    seed: int = 1


@router.post("/learn/trace", response={200: dict[str, Any], **_REFUSALS})
async def trace(request: HttpRequest, body: TraceIn) -> Any:
    """What happens between a short text and its next token, in numbers: of the embedding, one layer
    and head from inside, the logits, each stage of the sampler, and the token that is drawn."""
    values = body.model_dump(include={"temperature", "top_k", "top_p", "min_p", "seed"})
    return await traced(
        model=body.model,
        text=body.input,
        ids=body.ids,
        layer=body.layer,
        head=body.head,
        sampling=SamplingParams(**values),
    )
