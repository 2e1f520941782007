"""The form that an answer must have, under the names that clients give it."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from chat.errors import InvalidRequest
from chat.v1.errors import UnsupportedField
from inference.types import Constraint

_KINDS = ("json", "regex", "choice", "grammar", "json_object")


def of_format(given: Any, param: str) -> Constraint | None:
    """OpenAI's `response_format` and `text.format`: {"type": text, json_object or json_schema}; the
    schema stands under `json_schema` in the one and beside `type` in the other. `strict` or not,
    the schema is obeyed. Raises InvalidRequest, InvalidParameter."""
    if given is None:
        return None
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return Constraint("json_object")
    if kind != "json_schema":
        raise _wrong(f"{param}.type", _("text, json_object or json_schema"))
    held, where = given.get("json_schema", given), param
    if held is not given:
        where = f"{param}.json_schema"
    schema = held.get("schema") if isinstance(held, dict) else None
    if not isinstance(schema, dict):
        raise _wrong(f"{where}.schema", _("a JSON schema, which is an object"))
    return Constraint.of_schema(schema)


def of_structure(given: Any, param: str = "structured_outputs") -> Constraint | None:
    """vLLM's {"json" | "regex" | "choice" | "grammar" | "json_object": …}, one of them. Raises
    InvalidRequest, InvalidParameter, UnsupportedField."""
    if given is None:
        return None
    if not isinstance(given, dict):
        raise _wrong(param, _("an object"))
    told = {name: value for name, value in given.items() if value is not None}
    for name in told:
        if name not in _KINDS:
            raise UnsupportedField(f"{param}.{name}")
    if len(told) != 1:
        raise _wrong(param, _("an object with one of %(names)s") % {"names": ", ".join(_KINDS)})
    ((name, value),) = told.items()
    return _of_kind(name, value, f"{param}.{name}")


def of_guided(given: dict[str, Any]) -> Constraint | None:
    """vLLM's older `guided_json`, `guided_regex`, `guided_choice` and `guided_grammar`."""
    found = [_of_kind(name.removeprefix("guided_"), value, name) for name, value in given.items()]
    return only(*found)


def only(*given: Constraint | None) -> Constraint | None:
    """The one that is asked for. Raises InvalidRequest where there are several."""
    asked = [each for each in given if each is not None]
    if len(asked) > 1:
        raise InvalidRequest(
            _("An answer has one form: %(kinds)s are asked for together.")
            % {"kinds": ", ".join(each.kind for each in asked)},
            param="structured_outputs",
        )
    return asked[0] if asked else None


def _of_kind(kind: str, value: Any, param: str) -> Constraint | None:
    if kind == "json_object":
        return Constraint("json_object") if value else None
    if kind == "json" and isinstance(value, str) and value:
        return Constraint("json_schema", value)
    if kind == "json" and isinstance(value, dict):
        return Constraint.of_schema(value)
    if kind == "choice" and isinstance(value, list):
        return Constraint.of_choice(value)
    if kind == "regex" and isinstance(value, str):
        return Constraint("regex", value)
    if kind == "grammar" and isinstance(value, str):
        return Constraint("grammar", value)
    wanted = {
        "json": _("a JSON schema, which is an object"),
        "choice": _("a list of texts"),
    }
    raise _wrong(param, wanted.get(kind, _("a text")))


def _wrong(param: str, allowed: str) -> InvalidRequest:
    return InvalidRequest(
        _("%(name)s must be %(allowed)s.") % {"name": param, "allowed": allowed}, param=param
    )
