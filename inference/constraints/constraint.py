"""What form an answer must have, as plain data. No torch here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from inference.parameter_checks import check

Kind = Literal["json_schema", "json_object", "regex", "choice", "grammar"]

MAX_CHARACTERS = 65_536
"""Of a schema, an expression or a grammar: what is compiled has to be done in seconds."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """text: a JSON schema as JSON, nothing (any JSON object), a regular expression, a JSON list of
    texts of which the answer is one, or a grammar in llguidance's dialect of Lark."""

    kind: Kind
    text: str = ""

    def __post_init__(self) -> None:
        kinds = get_args(Kind)
        check(self.kind in kinds, "constraint", self.kind, f"one of {', '.join(kinds)}")
        check(isinstance(self.text, str), self.kind, type(self.text).__name__, "a text")
        allowed = f"at most {MAX_CHARACTERS} characters long"
        length = len(self.text)
        check(length <= MAX_CHARACTERS, self.kind, f"{length} characters", allowed)
        is_needed = self.kind != "json_object"
        check(bool(self.text) == is_needed, self.kind, self.text, "a text" if is_needed else "")

    @classmethod
    def of_schema(cls, schema: dict[str, Any] | bool) -> Constraint:
        """An answer that is JSON and valid against the schema."""
        return cls("json_schema", json.dumps(schema, ensure_ascii=False, separators=(",", ":")))

    @classmethod
    def of_choice(cls, choices: Sequence[str]) -> Constraint:
        """An answer that is one of these texts."""
        return cls("choice", json.dumps(list(choices), ensure_ascii=False))
