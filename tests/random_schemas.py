"""JSON schemas at random: a published generator, given a schema of the schemas that are obeyed.

Lengths are bounded, so that a small model comes to an end.
"""

from __future__ import annotations

import warnings
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import utils

Schema = dict[str, Any]

NAMES = ["a", "name", "é日", "x y"]
FORMATS = ["date", "date-time", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"]
TEXT = r'^[a-z "\\\nÉ日]{0,8}$'
"""Not every character: the model's vocabulary has no token for some bytes."""
PATTERNS = ["^[a-z]{2,5}$", r"^\d{3}-\d{4}$", "^(foo|bar){1,3}$", "x[0-9]?y$"]


def _object(required: list[str], /, **properties: Any) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _whole(**properties: Any) -> Schema:
    return _object(list(properties), **properties)


def _between(low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


def _list(items: Schema, low: int, high: int) -> Schema:
    return {"type": "array", "items": items, "minItems": low, "maxItems": high}


_VALUE: Schema = {
    "anyOf": [
        {"type": "string", "pattern": TEXT},
        _between(-5, 5),
        {"type": "null"},
        _list(_between(0, 9), 0, 3),
        _whole(k=_between(0, 3)),
    ]
}
_LEAVES: list[Schema] = [
    _object(
        ["type", "maxLength"],
        type={"const": "string"}, minLength=_between(0, 3), maxLength=_between(3, 20),
    ),
    _object(
        ["type", "pattern", "maxLength"],
        type={"const": "string"}, pattern={"enum": PATTERNS}, maxLength=_between(9, 20),
    ),
    _whole(type={"const": "string"}, format={"enum": FORMATS}),
    _object(
        ["type", "minimum", "maximum"],
        type={"enum": ["integer", "number"]},
        minimum=_between(-1000, 10), maximum=_between(11, 1000), multipleOf={"enum": [1, 2, 5]},
    ),
    _whole(
        type={"const": "integer"},
        exclusiveMinimum=_between(-9, 0), exclusiveMaximum=_between(3, 10**6),
    ),
    _whole(type={"enum": ["boolean", "null", ["boolean", "null"]]}),
    _whole(enum=_list(_VALUE, 1, 4)),
    _whole(const=_VALUE),
]  # fmt: skip
_LEAF: Schema = {"anyOf": _LEAVES}
_NESTED: list[Schema] = [
    _object(
        ["type", "properties", "additionalProperties"],
        type={"const": "object"},
        properties={
            "type": "object", "propertyNames": {"enum": NAMES},
            "additionalProperties": _LEAF, "minProperties": 1, "maxProperties": 3,
        },
        required={**_list({"enum": NAMES[:2]}, 0, 2), "uniqueItems": True},
        additionalProperties={"const": False},
    ),
    _whole(
        type={"const": "object"},
        patternProperties={
            "type": "object", "propertyNames": {"enum": ["^[a-c]{1,3}$", "^n_[0-9]{1,2}$"]},
            "additionalProperties": _LEAF, "minProperties": 1, "maxProperties": 2,
        },
        additionalProperties={"const": False},
        maxProperties=_between(1, 3),
    ),
    _object(
        ["type", "items", "maxItems"],
        type={"const": "array"}, items=_LEAF, minItems=_between(0, 1), maxItems=_between(1, 3),
    ),
    _whole(type={"const": "array"}, prefixItems=_list(_LEAF, 1, 2), items={"const": False}),
    _whole(anyOf=_list(_LEAF, 1, 3)),
    _whole(allOf=_list(_LEAF, 1, 1)),
    _whole(**{"$ref": {"const": "#/$defs/d"}, "$defs": _whole(d=_LEAF)}),
]  # fmt: skip
META: Schema = {"anyOf": _NESTED}


def random_schemas(count: int, number: int) -> list[Schema]:
    """The same for the same number: objects with one or two members of such schemas."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own imports
        from hypothesis_jsonschema import from_schema
    made: list[Schema] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(from_schema(META), min_size=1, max_size=2))
    def collect(members: list[Schema]) -> None:
        made.append(_of_members(members))

    # the generator asks for elements by a method that hypothesis has made an iterator of
    with patch.object(utils.many, "more", _more, create=True):
        collect()
    return made[:count]


def _of_members(members: list[Schema]) -> Schema:
    """References are from the root: each member's own stand there under another name. Nothing is
    required that may not be there: no answer would be valid."""
    properties, shared = {}, {}
    for index, member in enumerate(members):
        own = dict(member)
        if "required" in own:
            own["required"] = [name for name in own["required"] if name in own["properties"]]
        if "$defs" in own:
            shared[f"d{index}"] = own.pop("$defs")["d"]
            own["$ref"] = f"#/$defs/d{index}"
        properties[f"m{index}"] = own
    whole = {"type": "object", "properties": properties, "required": list(properties)}
    return {**whole, "additionalProperties": False, **({"$defs": shared} if shared else {})}


def _more(elements: Any) -> bool:
    if elements._depth is None:
        elements.__enter__()
        elements.steps = iter(elements)
    return next(elements.steps, True) is None
