"""A request on its way through the engine. All arithmetic on its lengths is written here, once.

|<------------ tokens ------------------------------>|
|<------ prompt ------------>|<------ output ------->|
|<------------ computed (in the KV cache) -->|<- pending ->|

A step may be launched before the token of the one before is known here: that token is promised, and
counts as one more. A step may also compute a draft: tokens that are guessed to come next. One that
was right is computed already when it becomes known; what a wrong one left in the cache is written
anew before it is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inference.prompt_lookup import PromptLookup
from inference.types import GenerateRequest

if TYPE_CHECKING:
    from inference.constraints.matcher import Matcher


@dataclass(slots=True, eq=False)
class Sequence:
    """tokens: prompt and output ids. computed: how many of them are in the KV cache, or will be
    when the steps that are launched have run. promised: tokens that these will sample. draft: the
    guesses that one of these checks. to_read: how many are read like a prompt: also those of an
    answer that starts again. cached: how many were in the cache when it began. blocks: the cache
    blocks it holds, in order; names: of those that its tokens fill, as far as somebody asked;
    published: how many of its blocks others may find. limit: the most tokens it may ever have.
    guesses: the most that a draft has; lookup: where they come from. loading: its
    beginning comes from a file, and is not computed meanwhile. matcher: its place in the grammar
    of its answer, if that has one."""

    request: GenerateRequest
    limit: int
    arrival: int
    seed: int
    tokens: list[int] = field(init=False)
    computed: int = 0
    promised: int = 0
    draft: tuple[int, ...] = ()
    to_read: int = field(init=False)
    cached: int = 0
    blocks: list[int] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)
    published: int = 0
    loading: bool = False
    matcher: Matcher | None = None
    guesses: int = field(init=False)
    lookup: PromptLookup = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = list(self.request.prompt_ids)
        self.to_read = len(self.tokens)
        # what is guessed may be none of the grammar's, and what is told of a guess that was right
        # would have to be computed apart
        its = self.request
        is_free = its.sampling.constraint is None and its.logprobs is None
        self.guesses = its.sampling.prompt_lookup if is_free else 0
        self.lookup = PromptLookup(self.tokens, self.prompt_length)

    @property
    def prompt_length(self) -> int:
        return len(self.request.prompt_ids)

    @property
    def answer_start(self) -> int:
        """Index of the answer's first token: one that is being continued began in the prompt."""
        begin = self.request.answer_start
        return self.prompt_length if begin is None else begin

    @property
    def output_ids(self) -> list[int]:
        return self.tokens[self.prompt_length :]

    @property
    def output_length(self) -> int:
        return len(self.tokens) - self.prompt_length

    @property
    def known(self) -> int:
        """Tokens, the promised ones among them."""
        return len(self.tokens) + self.promised

    @property
    def pending(self) -> int:
        """Tokens that are known but not computed yet: the prompt's rest, or the last token."""
        return self.known - self.computed

    @property
    def in_prefill(self) -> bool:
        return self.computed < self.to_read

    @property
    def is_full(self) -> bool:
        return self.known >= self.limit

    @property
    def is_complete(self) -> bool:
        """Every token that it may have is known."""
        return len(self.tokens) >= self.limit

    def start_again(self) -> None:
        """What was computed is gone. A promised token still comes, one only."""
        self.computed = 0
        self.draft = ()
        self.to_read = self.known

    def launched(self, length: int, draft: tuple[int, ...] = ()) -> None:
        """So many of its pending tokens are on their way into the cache, and a draft. After the
        last one comes another."""
        self.computed += length
        self.promised += self.computed == len(self.tokens) + self.promised
        self.draft = draft

    def accept(self) -> None:
        """The last token was guessed: it is in the cache, and the one after it is promised."""
        self.promised += 1
        self.computed += 1

    def extend(self, token: int) -> None:
        """A promised token has arrived."""
        self.promised -= 1
        self.tokens.append(token)
