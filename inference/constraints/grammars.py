"""Grammars of one model, compiled away from the engine's thread and kept for whoever asks next."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from inference.client import PromptCodec
from inference.constraints.constraint import Constraint
from inference.constraints.json_schema import objections
from inference.constraints.matcher import Mask, Matcher, next_mask
from inference.errors import InvalidConstraint

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

KEPT = 64
"""Compiled grammars; of those that nobody uses any more the oldest goes."""
MASK_THREADS = 2


@dataclass(frozen=True, slots=True)
class _Compiled:
    place: LLMatcher
    first: Mask


class Grammars:
    """Used by the engine's thread. Threads and tables are made for the first constraint."""

    def __init__(self, codec: PromptCodec, vocabulary: int) -> None:
        """vocabulary: how many logits the model gives."""
        self._codec, self._vocabulary = codec, vocabulary
        self._kept: OrderedDict[Constraint, Future[_Compiled]] = OrderedDict()
        # one thread: a grammar that takes long is in nobody's way but of those that want another
        self._compiling = ThreadPoolExecutor(1, "grammar")
        self._masking = ThreadPoolExecutor(MASK_THREADS, "mask")

    def compiled(self, constraint: Constraint) -> Future[_Compiled]:
        """Compile it, or take what is known of it already. The future raises InvalidConstraint."""
        if constraint not in self._kept:
            self._kept[constraint] = self._compiling.submit(self._compile, constraint)
        self._kept.move_to_end(constraint)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[constraint]

    def matcher(self, constraint: Constraint | None, answered: Sequence[int]) -> Matcher | None:
        """For one answer, of which these tokens are written already. Waits for the compilation.
        Raises InvalidConstraint."""
        if constraint is None:
            return None
        its = self.compiled(constraint).result()
        matcher = Matcher(its.place.deep_copy(), its.first, self._masking, self._vocabulary)
        if answered and not matcher.follow(answered):
            raise InvalidConstraint(constraint.kind, "the answer so far does not obey it")
        return matcher

    def close(self) -> None:
        for pool in (self._compiling, self._masking):
            pool.shutdown(wait=False, cancel_futures=True)

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        """A second's work for a large vocabulary."""
        from llguidance import LLTokenizer

        ends = sorted(self._codec.eos_ids)
        if not ends:
            raise ValueError("the model has no token that ends an answer")
        return LLTokenizer(self._codec.tokenizer_json(), n_vocab=self._vocabulary, eos_token=ends)

    def _compile(self, constraint: Constraint) -> _Compiled:
        from llguidance import LLMatcher

        try:
            place = LLMatcher(self._tokenizer, _source(constraint), log_level=0)
            reason = place.get_error()
            first = None if reason else next_mask(place, self._vocabulary)
        except InvalidConstraint:
            raise
        except Exception as error:  # the library raises what it likes
            raise InvalidConstraint(constraint.kind, _said(str(error))) from error
        if first is None:
            raise InvalidConstraint(constraint.kind, _said(reason or place.get_error()))
        return _Compiled(place, first)


def _source(constraint: Constraint) -> str:
    """In the library's words. Raises InvalidConstraint, ValueError."""
    from llguidance import LLMatcher

    if constraint.kind == "regex":
        return LLMatcher.grammar_from_regex(constraint.text)
    if constraint.kind == "grammar":
        return LLMatcher.grammar_from_lark(constraint.text)
    if constraint.kind == "json_object":
        schema: Any = {"type": "object"}
    else:
        schema = json.loads(constraint.text)
    if constraint.kind == "choice":
        if not isinstance(schema, list) or not schema or not all(map(_is_text, schema)):
            raise InvalidConstraint("choice", "it must be a list of texts, none of them empty")
        return LLMatcher.grammar_from_lark(f"start: {' | '.join(map(_quoted, schema))}")
    for reason in objections(schema):
        raise InvalidConstraint(constraint.kind, reason)
    # an object with options is what the library takes
    whole = {"allOf": [schema]} if isinstance(schema, bool) else schema
    return LLMatcher.grammar_from_json_schema(whole, overrides={"whitespace_flexible": False})


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _said(reason: str) -> str:
    """Without a dump of the parser's state, and without the place in what it was made into."""
    said = re.split(r"<state>|\n\s*\d+ \|", reason)[0]
    return " ".join(said.split())[:500].rstrip(".^ ")
