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

    @property
    def retry_after_s(self) -> int | None:
        """Whole seconds after which to try again; None where that is not known."""
        return self.fields.get("retry_after_s")

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel between processes as they are, whatever their constructors take."""
        return _again, (type(self), self.message, self.fields)


def _again(kind: type[EngineError], message: str, fields: dict[str, Any]) -> EngineError:
    error = kind.__new__(kind, message)
    EngineError.__init__(error, message, **fields)
    return error


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


class InvalidConstraint(EngineError):
    """A schema, an expression or a grammar that no answer can be held to. Fields: param, reason."""

    code = "invalid_constraint"
    status = 400

    def __init__(self, param: str, reason: str) -> None:
        super().__init__(
            f"{param} cannot be used: {reason}.",
            param=param,
            reason=reason,
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


class ModelNotGenerative(EngineError):
    """It makes vectors of texts, and was asked to read or write others. Fields: model."""

    code = "model_not_generative"
    status = 400

    def __init__(self, model: str) -> None:
        super().__init__(
            f"{model} is a sentence model: it makes vectors of texts and writes nothing.",
            model=model,
        )


class ModelBusy(EngineError):
    """It cannot be unloaded: somebody has it answer, or it is on its way. Fields: model."""

    code = "model_busy"
    status = 409
    retryable = True

    def __init__(self, model: str) -> None:
        super().__init__(f"{model} is being used. Wait, or cancel its requests.", model=model)


class ModelInvalid(ModelUnavailable):
    """The files are there and wrong: a tensor is missing, extra or misshapen, or the config does
    not fit. Fields: path, and what was found."""

    code = "model_invalid"


class UnsupportedArchitecture(ModelInvalid):
    """`config.json` names an architecture we cannot run. Fields: architecture, supported."""

    code = "unsupported_architecture"


class DeviceUnavailable(ModelUnavailable):
    """The GPU was insisted on and cannot be used. Fields: reason."""

    code = "device_unavailable"

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(
            f"TINYLLM_DEVICE=cuda asks for the GPU, but {reason}. {remedy}".rstrip(), reason=reason
        )


class DeviceMemoryTooSmall(ModelUnavailable):
    """The model does not fit into the GPU's free memory. Fields, in bytes: needed, free of total,
    weights, cache (for `tokens` tokens); would_fit: settings with which it fits, or an empty
    text."""

    code = "device_memory_too_small"

    def __init__(
        self,
        *,
        needed: int,
        free: int,
        total: int,
        weights: int,
        cache: int,
        tokens: int,
        would_fit: str,
    ) -> None:
        advice = f"It fits with {would_fit}" if would_fit else "Use a smaller model"
        super().__init__(
            f"The model needs {needed / 1e9:.1f} GB of the GPU's memory ({weights / 1e9:.1f} GB "
            f"weights, {cache / 1e9:.1f} GB cache for {tokens} tokens, the rest for computing), "
            f"and {free / 1e9:.1f} of its {total / 1e9:.1f} GB are free: other models and other "
            f"programs have the rest. {advice}, or compute on the CPU with TINYLLM_DEVICE=cpu.",
            needed=needed,
            free=free,
            total=total,
            weights=weights,
            cache=cache,
            tokens=tokens,
            would_fit=would_fit,
        )


class MemoryBudgetTooSmall(ModelUnavailable):
    """The model alone needs more memory than all models may take. Fields, in bytes: needed, budget,
    weights, cache (for `tokens` tokens); would_fit: settings with which it fits."""

    code = "memory_budget_too_small"

    def __init__(
        self, *, needed: int, budget: int, weights: int, cache: int, tokens: int, would_fit: str
    ) -> None:
        super().__init__(
            f"The model needs {needed / 1e9:.1f} GB of memory ({weights / 1e9:.1f} GB weights, "
            f"{cache / 1e9:.1f} GB cache for {tokens} tokens, the rest for computing), and all "
            f"models together may take {budget / 1e9:.1f} GB here. It fits with {would_fit}.",
            needed=needed,
            budget=budget,
            weights=weights,
            cache=cache,
            tokens=tokens,
            would_fit=would_fit,
        )


class EngineStopped(EngineError):
    """The engine is shutting down, has died, or was never started. Try again later."""

    code = "engine_stopped"
    status = 503
    retryable = True

    @property
    def retry_after_s(self) -> int | None:
        return 5


class EngineCrashed(EngineError):
    """The engine broke off and another one takes its place. Fields: reason, retry_after_s."""

    code = "engine_crashed"
    status = 503
    retryable = True

    def __init__(self, reason: str, retry_after_s: int = 5) -> None:
        super().__init__(
            f"The engine broke off: {reason}. The text so far is kept; "
            "try again or continue it in a moment.",
            reason=reason,
            retry_after_s=retry_after_s,
        )


class DeviceLost(EngineCrashed):
    """The GPU refuses all further work of this process, which therefore ends: a kernel that traps
    takes its process's whole context along. Whoever runs a model raises it (`device_check.py`)."""


class QueueFull(EngineError):
    """Too many requests are waiting. Fields: waiting, limit, retry_after_s."""

    code = "queue_full"
    status = 503
    retryable = True


class DeadlineExceeded(EngineError):
    """A request was not done in the time that it had. Fields: seconds."""

    code = "deadline_exceeded"
    status = 504
    retryable = True

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The answer was not done within {seconds:g} s and was ended. The text so far is kept; "
            "continue it, or try again when less is going on.",
            seconds=seconds,
        )


class RequestFailed(EngineError):
    """One request failed inside the engine; the others go on. Fields: request_id."""

    code = "request_failed"
    status = 500
    retryable = True
