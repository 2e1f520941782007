"""What can be asked about a model's numbers, and what is answered: on a thread or across a pipe.

Questions are answered between the steps of those who generate. No torch here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from inference.logprobs import MAX_LOGPROBS, TokenLogprobs
from inference.parameter_checks import check, check_integer
from inference.types import SamplingParams

MAX_WINDOW = 64
"""Tokens that one question is about."""
MAX_EMBEDDED = 32
"""Texts that one question is about: others have their turn after it."""
MAX_TRACED = 64
"""Tokens of a text whose forward pass is shown."""
ALTERNATIVES = 10
STRIP = 64
"""Numbers that are shown of a vector."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """How likely was each token that was written? ids: a prompt and the answer, up to the last
    token that is asked about; first: index of the first one. answer_start: index at which the
    answer begins, and sampling: its values, for the distribution it was drawn from. session: what
    it is a part of: once that is deleted, nothing is answered."""

    ids: tuple[int, ...]
    first: int
    answer_start: int
    sampling: SamplingParams
    session: str = ""

    def __post_init__(self) -> None:
        check_integer("first", self.first, 1, len(self.ids) - 1)
        check_integer("answer_start", self.answer_start, 1, self.first)
        count = len(self.ids) - self.first
        check(count <= MAX_WINDOW, "tokens", count, f"at most {MAX_WINDOW} at once")


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token at some place. raw: its probability as the model gave it. sampled: after penalties,
    temperature, top-k, top-p and min-p."""

    id: int
    raw: float
    sampled: float


@dataclass(frozen=True, slots=True)
class TokenOdds:
    """rank: 1 for the most likely one. entropy: of the model's distribution, in bits.
    alternatives: the most likely ones, largest first."""

    token: Alternative
    rank: int
    entropy: float
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True, slots=True)
class Inspected:
    """One for each token that was asked about."""

    tokens: tuple[TokenOdds, ...]


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One forward pass over a short text, and the token that is drawn after it. layer and head:
    which are shown from inside."""

    ids: tuple[int, ...]
    layer: int
    head: int
    sampling: SamplingParams = field(default_factory=lambda: SamplingParams(seed=0))

    def __post_init__(self) -> None:
        check(
            1 <= len(self.ids) <= MAX_TRACED, "tokens", len(self.ids), f"between 1 and {MAX_TRACED}"
        )
        check_integer("layer", self.layer, 0, None)
        check_integer("head", self.head, 0, None)
        check(self.sampling.seed is not None, "seed", None, "a number")


Numbers = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a position does to one pair of a query's numbers. angle: in radians, by position."""

    pair: tuple[int, int]
    before: tuple[float, float]
    after: tuple[float, float]
    angles: Numbers


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the sampler. name: of the value that it obeys; value: that value. survivors:
    tokens that may still be drawn. tokens: those that were the most likely before all stages."""

    name: str
    value: float
    survivors: int
    tokens: tuple[Alternative, ...]


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """A layer from inside, for the last token. Of long vectors the first numbers. normed: the
    residual stream after the first RMSNorm, and scale: what that divided by. query, key, value: of
    the head, before positions. attention[t]: how much of each token up to it token t reads.
    gated: inside the feed-forward, active: the share of its numbers above zero."""

    scale: float
    before: Numbers
    normed: Numbers
    query: Numbers
    key: Numbers
    value: Numbers
    rotation: Rotation
    attention: tuple[Numbers, ...]
    gated: Numbers
    active: float
    after: Numbers


@dataclass(frozen=True, slots=True)
class Trace:
    """residual: root mean square of the stream, after the embedding and after each half layer.
    uniform: the number in (0, 1) that the draw was made with. sizes: of the model."""

    sizes: dict[str, int]
    embedding: Numbers
    layer: LayerTrace
    residual: Numbers
    logits: tuple[tuple[int, float], ...]
    stages: tuple[Stage, ...]
    uniform: float
    token: int


@dataclass(frozen=True, slots=True)
class Scoring:
    """How likely was each token of a text, after those before it? top: how many likelier tokens
    are told of beside each."""

    ids: tuple[int, ...]
    top: int

    def __post_init__(self) -> None:
        check(bool(self.ids), "prompt", list(self.ids), "at least one token")
        check_integer("logprobs", self.top, 0, MAX_LOGPROBS)


@dataclass(frozen=True, slots=True)
class Scored:
    """One for each token but the first, which nothing was before."""

    tokens: tuple[TokenLogprobs, ...]


@dataclass(frozen=True, slots=True)
class Embedding:
    """The vectors of texts."""

    texts: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        count = len(self.texts)
        check(0 < count <= MAX_EMBEDDED, "input", f"{count} texts", f"1 to {MAX_EMBEDDED} texts")
        for ids in self.texts:
            check(bool(ids), "input", list(ids), "at least one token in each text")


@dataclass(frozen=True, slots=True)
class Embedded:
    """Of each text the mean of its tokens' last states, after the last norm, of length 1."""

    vectors: tuple[Numbers, ...]


Question = Inspection | TraceRequest | Scoring | Embedding
Examined = Inspected | Trace | Scored | Embedded
