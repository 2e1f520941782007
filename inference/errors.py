"""Every way the engine can refuse or fail, as a code, fields, an HTTP status and whether to retry.

The site turns these into replies without reading the message: `code` and `fields` are the
machine's half, `str(error)` is the person's half. No torch here.
"""

from __future__ import annotations

from typing import Any, ClassVar


class EngineError(Exception):
    """Base of all engine errors. `fields` holds the values that the message names."""

    code: ClassVar[str] = "engine_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields


class InvalidParameter(EngineError):
    """A request value outside what is allowed. Fields: param, value, allowed."""

    code = "invalid_parameter"
    status = 400

    def __init__(self, param: str, value: object, allowed: str) -> None:
        super().__init__(
            f"{param} = {value!r} is not allowed: it must be {allowed}.",
            param=param,
            value=value,
            allowed=allowed,
        )


class ContextLengthExceeded(EngineError):
    """The prompt does not fit. Fields: prompt_tokens, context_length."""

    code = "context_length_exceeded"
    status = 400

    def __init__(self, prompt_tokens: int, context_length: int) -> None:
        super().__init__(
            f"The conversation is {prompt_tokens} tokens long, but this model reads at most "
            f"{context_length} and needs room for an answer. Nothing was cut: shorten the text "
            "or start a new session.",
            prompt_tokens=prompt_tokens,
            context_length=context_length,
        )


class ModelNotFound(EngineError):
    """No such name in the catalogue and no such folder. Fields: model, known."""

    code = "model_not_found"
    status = 404

    def __init__(self, model: str, known: list[str]) -> None:
        super().__init__(
            f"There is no model called {model!r}. Known models: {', '.join(known) or 'none'}.",
            model=model,
            known=known,
        )


class ModelUnavailable(EngineError):
    """The model is known but its files are missing, half-downloaded or damaged. Fields: model."""

    code = "model_unavailable"
    status = 503


class ModelInvalid(ModelUnavailable):
    """The files are there and wrong: a tensor is missing, extra or misshapen, or the config does
    not fit. Fields: path, and what was found."""

    code = "model_invalid"


class UnsupportedArchitecture(ModelInvalid):
    """`config.json` names an architecture we cannot run. Fields: architecture, supported."""

    code = "unsupported_architecture"


class EngineStopped(EngineError):
    """The engine is shutting down, has died, or was never started. Try again later."""

    code = "engine_stopped"
    status = 503
    retryable = True


class QueueFull(EngineError):
    """Too many requests are waiting. Fields: waiting, limit."""

    code = "queue_full"
    status = 503
    retryable = True


class RequestFailed(EngineError):
    """One request failed inside the engine; the others go on. Fields: request_id."""

    code = "request_failed"
    status = 500
    retryable = True
