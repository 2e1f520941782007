"""Every refusal of the site as a code, fields, a status and whether to retry; and its wire form.

Domain errors and the engine's errors go through the same door, `wire`: REST, event streams and
sockets say the same thing about the same failure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import structlog
from django.db import OperationalError
from django.utils.translation import gettext as _

from chat.error_words import in_words
from inference.errors import EngineError

MAX_TEXT = 1_000_000
"""Characters of one message. More is refused with this number, never cut."""

_log = structlog.get_logger(__name__)


class ChatError(Exception):
    """Base of the site's own errors. `fields` holds the values that the message names.
    retry_after_s: whole seconds after which to try again, None where that is not known."""

    code: ClassVar[str] = "chat_error"
    status: ClassVar[int] = 400
    retryable: ClassVar[bool] = False
    retry_after_s: int | None = None

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields


class InvalidRequest(ChatError):
    """A value, a body or a frame is not what it must be. Fields: param, where one is at fault."""

    code = "invalid_request"


class EmptyInput(InvalidRequest):
    code = "empty_input"

    def __init__(self, param: str) -> None:
        super().__init__(_("The message is empty: write something first."), param=param)


class InputTooLong(ChatError):
    """Fields: length and limit, in characters."""

    code = "input_too_long"
    status = 413

    def __init__(self, param: str, length: int) -> None:
        message = _(
            "The message is %(length)d characters long; at most %(limit)d are read. "
            "Nothing was cut: shorten it, or send it in parts."
        ) % {"length": length, "limit": MAX_TEXT}
        super().__init__(message, param=param, length=length, limit=MAX_TEXT)


class MessageRefused(ChatError):
    """A filter refused a message. Fields: found, what it holds that may not be said."""

    code = "content_filter"

    def __init__(self, found: list[str]) -> None:
        words = ", ".join(dict.fromkeys(found))
        super().__init__(
            _("This may not be said here: %(words)s. Nothing was sent: change it and try again.")
            % {"words": words},
            param="input",
            found=found,
        )


class NotSignedIn(ChatError):
    code = "not_signed_in"
    status = 401

    def __init__(self) -> None:
        super().__init__(_("Sign in first."))


class SessionNotFound(ChatError):
    """Also said of another person's session: whether it exists is theirs to know."""

    code = "session_not_found"
    status = 404

    def __init__(self, session_id: object) -> None:
        super().__init__(
            _("There is no session %(id)s.") % {"id": session_id},
            param="session_id",
            session_id=str(session_id),
        )


class MessageNotFound(ChatError):
    code = "message_not_found"
    status = 404

    def __init__(self, message_id: object) -> None:
        super().__init__(
            _("There is no message %(id)s in this session.") % {"id": message_id},
            message_id=str(message_id),
        )


class TurnInProgress(ChatError):
    code = "turn_in_progress"
    status = 409
    retryable = True

    def __init__(self, session_id: object) -> None:
        super().__init__(
            _("An answer is still being written in this session. Wait for it, or stop it first."),
            session_id=str(session_id),
        )


class CannotContinue(ChatError):
    code = "cannot_continue"
    status = 409

    def __init__(self, message_id: object) -> None:
        super().__init__(
            _("This answer cannot be continued: it is the user's, complete, or still running."),
            message_id=str(message_id),
        )


class ModelChanged(ChatError):
    """Stored token ids mean nothing to another tokenizer. Fields: model."""

    code = "model_changed"
    status = 409

    def __init__(self, model: str) -> None:
        super().__init__(
            _("The model %(model)s has changed since this answer began. Send the message again.")
            % {"model": model},
            model=model,
        )


class ShuttingDown(ChatError):
    code = "shutting_down"
    status = 503
    retryable = True
    retry_after_s = 10

    def __init__(self) -> None:
        super().__init__(_("The server is shutting down. Send it again in a moment."))


class StorageFailed(ChatError):
    """The database would not take an answer. Fields: reason, as the database gave it."""

    code = "storage_failed"
    status = 507
    retryable = True

    def __init__(self, reason: str) -> None:
        super().__init__(
            _("The database refused to save this (%(reason)s). Keep what you need, then try again.")
            % {"reason": reason},
            reason=reason,
        )


class DatabaseBusy(ChatError):
    """Another program has held the database's lock for longer than we wait."""

    code = "database_busy"
    status = 503
    retryable = True
    retry_after_s = 2

    def __init__(self) -> None:
        super().__init__(_("The database is busy. Send it again in a moment."))


class TurnLost(ChatError):
    """The row of a running turn is gone or no longer ours, say because its session was deleted."""

    code = "turn_lost"
    status = 409

    def __init__(self) -> None:
        super().__init__(_("This turn no longer exists: its session was deleted or taken over."))


class SetupLinkInvalid(ChatError):
    code = "setup_link_invalid"
    status = 404

    def __init__(self) -> None:
        super().__init__(_("This setup link is unknown or was used already."))


def check_unicode(param: str, text: str) -> None:
    """JSON can carry half of a surrogate pair, which UTF-8 cannot, and U+0000, which PostgreSQL
    does not keep. Raises InvalidRequest."""
    if "\0" in text:
        words = _("%(name)s must not have the character U+0000 in it.") % {"name": param}
        raise InvalidRequest(words, param=param)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(
            _("%(name)s must be valid Unicode, without half of a surrogate pair.")
            % {"name": param},
            param=param,
        ) from None


@dataclass(frozen=True, slots=True)
class WireError:
    """An error as a client reads it. `as_dict` is for sockets and records, `envelope` for REST."""

    code: str
    message: str
    status: int
    retryable: bool
    fields: dict[str, Any]
    retry_after_s: int | None = None

    def as_dict(self) -> dict[str, Any]:
        told = {
            "code": self.code,
            "message": self.message,
            "fields": self.fields,
            "retryable": self.retryable,
        }
        if self.retry_after_s is None or not self.retryable:
            return told
        return told | {"retry_after_s": self.retry_after_s}

    def envelope(self) -> dict[str, Any]:
        return {
            "error": {
                "message": self.message,
                "type": _TYPES.get(self.status, "invalid_request_error")
                if self.status < 500
                else "server_error",
                "param": self.fields.get("param"),
                "code": self.code,
            }
        }


_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def wire(error: BaseException) -> WireError:
    """Any exception as a WireError. An unexpected one is logged whole and told in general words."""
    if isinstance(error, OperationalError):
        _log.error("database_refused", reason=str(error))
        error = DatabaseBusy() if "locked" in str(error) else StorageFailed(str(error))
    if isinstance(error, ChatError | EngineError):
        fields = {key: _plain(value) for key, value in error.fields.items()}
        message = in_words(code=error.code, fields=fields, said=error.message)
        after = error.retry_after_s
        return WireError(error.code, message, error.status, error.retryable, fields, after)
    _log.error("unexpected_error", exc_info=error)
    return WireError(
        "internal_error",
        _("Something went wrong on the server. The log has the details."),
        500,
        True,
        {},
    )


def _plain(value: Any) -> Any:
    """What JSON can carry, as it is; anything else as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return str(value)
