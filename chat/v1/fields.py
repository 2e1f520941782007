"""The fields that all ways of asking for text have in common, under OpenAI's and vLLM's names."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from django.utils.translation import gettext as _
from pydantic import Field

from chat import sampling
from chat.errors import InvalidRequest
from chat.submission import default_sampling
from chat.v1 import output_form
from chat.v1.bodies import Body
from chat.v1.errors import UnsupportedField
from chat.v1.logprobs import Top, check_filters
from inference.types import Constraint, SamplingParams

MAX_STOPS = 4
MAX_STOP_CHARACTERS = 1000
MAX_CHOICES = 128
NAMES = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "seed",
    "stop",
    "stop_token_ids",
    "ignore_eos",
    "prompt_lookup",
)
GUIDED = ("guided_json", "guided_regex", "guided_choice", "guided_grammar")
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARACTERS)]


class StreamOptions(Body):
    include_usage: bool | None = None


class TextRequest(Body):
    """What is absent or null is the model's default. user: taken and not used, fairness goes by
    the caller. prompt_logprobs: of whole replies, as with vLLM. priority: a request with a higher
    number waits for those with a lower one."""

    model: str
    max_tokens: int | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    seed: int | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool | None = None
    prompt_lookup: int | None = None
    priority: Annotated[int, Field(ge=0, le=1000)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    prompt_logprobs: Top | None = None
    user: str | None = None
    structured_outputs: Any = None
    guided_json: Any = None
    guided_regex: Any = None
    guided_choice: Any = None
    guided_grammar: Any = None

    later: ClassVar[dict[str, tuple[Any, ...]]] = {
        "min_tokens": (0,),
        "use_beam_search": (False,),
        "truncate_prompt_tokens": (),
    }

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def unknown(self, prefix: str = "") -> list[str]:
        if self.stream_options and not self.stream:
            raise InvalidRequest(
                _("stream_options is for streams: set stream to true, or leave it out."),
                param="stream_options",
            )
        if self.prompt_logprobs is not None:
            check_filters("prompt_logprobs")
            if self.stream:
                raise UnsupportedField("prompt_logprobs")
        nested = self.stream_options.unknown("stream_options.") if self.stream_options else []
        return super().unknown(prefix) + nested

    def constraint(self) -> Constraint | None:
        """The form of the answer. Raises InvalidParameter, InvalidRequest."""
        guided = output_form.of_guided(self.given(*GUIDED))
        return output_form.only(output_form.of_structure(self.structured_outputs), guided)

    def sampling(self, max_tokens: int | None) -> SamplingParams:
        """Raises InvalidParameter, InvalidRequest."""
        given = self.given(*NAMES)
        if given.get("top_k") == -1:  # as vLLM spells "all"
            given["top_k"] = 0
        if max_tokens is not None:
            given["max_tokens"] = max_tokens
        given["constraint"] = self.constraint()
        return sampling.merged(default_sampling(self.model), given)
