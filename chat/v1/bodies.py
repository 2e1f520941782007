"""Bodies as typed objects. What a body holds beyond its shape is either a field that we know and
cannot obey, which is refused, or one that nobody knows, which is ignored and named in a header."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from django.http import HttpRequest
from django.utils.translation import gettext as _
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from chat.errors import InvalidRequest
from chat.v1.errors import UnsupportedField

MAX_NAMED = 20
"""Unknown fields that are named; a body may have thousands."""
_UNION_ARMS = ("str", "int", "float", "bool", "list", "dict")


class Body(BaseModel):
    """later: fields that we know and cannot obey, each with the values that ask for nothing."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, allow_inf_nan=False)
    later: ClassVar[dict[str, tuple[Any, ...]]] = {}

    def given(self, *names: str) -> dict[str, Any]:
        """Those of these fields that have a value."""
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def unknown(self, prefix: str = "") -> list[str]:
        """Names of fields that are ignored. Raises UnsupportedField."""
        ignored = []
        for name, value in (self.model_extra or {}).items():
            if name not in self.later:
                ignored.append(prefix + name)
            elif value is not None and value not in self.later[name]:
                raise UnsupportedField(prefix + name)
        return ignored


B = TypeVar("B", bound=Body)


def read(request: HttpRequest, kind: type[B]) -> B:
    """Raises InvalidRequest, which names the field; RequestDataTooBig."""
    try:
        return kind.model_validate_json(request.body)
    except ValidationError as error:
        raise _wrong(error.errors(include_url=False, include_input=False)[0]) from None


def warning(names: list[str]) -> str:
    """For a header: so nothing but printable ASCII, and not too much of it."""
    shown = [ascii(name)[1:-1][:60] for name in names[:MAX_NAMED]]
    rest = len(names) - len(shown)
    return "unknown fields ignored: " + ", ".join(shown) + (f" and {rest} more" if rest else "")


def _wrong(error: ErrorDetails) -> InvalidRequest:
    if error["type"] == "json_invalid":
        reason = error["ctx"]["error"]
        return InvalidRequest(_("The body is not JSON: %(reason)s.") % {"reason": reason})
    param = _path(error["loc"])
    named = f"{param}: {error['msg']}" if param else error["msg"]
    return InvalidRequest(named, **({"param": param} if param else {}))


def _path(location: tuple[int | str, ...]) -> str:
    """messages[0].role, without the names that pydantic gives the arms of a union."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier() and part not in _UNION_ARMS:
            path += f".{part}" if path else part
    return path[:200]
