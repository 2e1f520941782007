"""How a turn ended, and how that is told."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chat.models import can_continue


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn ended. content: the whole message; the rest is of this generation alone. spent:
    tokens of prompt and output that went before it, on a summary."""

    status: str
    content: str
    output_ids: Sequence[int]
    token_offsets: Sequence[int]
    finish_reason: str = ""
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    seed: int | None = None
    deterministic: bool = False
    timings: dict[str, float] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    spent: tuple[int, int] = (0, 0)

    @property
    def charged(self) -> tuple[int, int]:
        """Prompt and output tokens. An answer that never began costs nothing but the summary."""
        began = self.output_tokens > 0 or self.status == "DONE"
        prompt, output = self.spent
        return (prompt + (self.prompt_tokens if began else 0), output + self.output_tokens)


def end_payload(session_id: uuid.UUID, message_id: uuid.UUID, outcome: Outcome) -> dict[str, Any]:
    return {
        "session_id": str(session_id),
        "message_id": str(message_id),
        "status": outcome.status,
        "finish_reason": outcome.finish_reason,
        "usage": {
            "prompt_tokens": outcome.prompt_tokens,
            "output_tokens": outcome.output_tokens,
            "cached_tokens": outcome.cached_tokens,
        },
        "timings": outcome.timings,
        "seed": outcome.seed,
        "deterministic": outcome.deterministic,
        "error": outcome.error,
        "can_continue": can_continue(status=outcome.status, finish_reason=outcome.finish_reason),
        "length": len(outcome.content),
    }
