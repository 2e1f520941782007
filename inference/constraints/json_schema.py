"""Which JSON schemas an answer can be held to.

The library passes over some keywords in silence (`additionalItems`, `nullable`, any that it does
not know). Here a keyword is on one of these lists or refused by name: an answer that is called
valid is valid.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SINGLE = ("additionalProperties", "items")
LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
MAPS = ("properties", "patternProperties", "$defs", "definitions")
"""Keywords that hold a schema, a list of them, or schemas by name."""

VALUES = (
    "type",
    "const",
    "enum",
    "required",
    "minProperties",
    "maxProperties",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "$ref",
)
"""Keywords that hold anything else, and are obeyed."""

NOTES = (
    "$schema",
    "$id",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
)
"""Keywords that forbid nothing."""

FORMATS = ("date", "date-time", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
MAX_DEPTH = 64


def objections(schema: Any, path: str = "", depth: int = 0) -> Iterator[str]:
    """What an answer cannot be held to, in words, with where it stands."""
    where = path or "the schema"
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield f"{where} must be an object, true or false"
        return
    if depth > MAX_DEPTH:
        yield f"{where} is more than {MAX_DEPTH} schemas deep"
        return
    for name, value in schema.items():
        yield from _of_keyword(schema, name, value, path, depth)


def _of_keyword(
    schema: dict[str, Any], name: str, value: Any, path: str, depth: int
) -> Iterator[str]:
    place = f"{path}/{name}"
    if name in SINGLE:
        if isinstance(value, list):
            yield f"{name!r} as a list is not supported (at {place}): use 'prefixItems'"
        else:
            yield from objections(value, place, depth + 1)
    elif name in LISTS or name in MAPS:
        kind = list if name in LISTS else dict
        if not isinstance(value, kind):
            yield f"{place} must be {'a list' if name in LISTS else 'an object'}"
            return
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from objections(item, f"{place}/{key}", depth + 1)
    elif name == "format" and value not in FORMATS:
        known = ", ".join(FORMATS)
        yield f"the format {value!r} is not supported (at {place}); supported are {known}"
    elif name == "format" and "string" not in _types(schema):
        yield f'\'format\' is supported beside "type": "string" only (at {place})'
    elif name == "$ref" and not (isinstance(value, str) and value.startswith("#")):
        yield f"$ref must begin with '#': no other document is read (at {place})"
    elif name not in VALUES and name not in NOTES:
        yield f"the keyword {name!r} is not supported (at {place})"


def _types(schema: dict[str, Any]) -> list[Any]:
    types = schema.get("type")
    return types if isinstance(types, list) else [types]
