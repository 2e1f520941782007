"""What can go wrong, each with what the site said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .events import Answer


class TinyLLMError(Exception):
    """Base of all that this package raises by itself."""


class ApiError(TinyLLMError):
    """The site refused. code: what it is called; status: of HTTP, 0 where it came over the stream.
    param: the field at fault, if one is. retry_after_s: when to try again, where that is known."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int = 0,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.status, self.param = message, code, status, param
        self.retry_after_s = retry_after_s


class AnswerFailed(ApiError):
    """An answer broke off. answer: what there is of it, which the site keeps as well."""

    def __init__(self, answer: Answer) -> None:
        error = answer.end.error or {}
        super().__init__(error.get("message", answer.end.status), code=error.get("code", ""))
        self.answer = answer


class ConnectionLost(TinyLLMError):
    """The site could not be reached again in time. An answer that has begun is written on there."""
