"""Sampling values between their three homes: a request's JSON, the engine's object, a row."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from django.utils.translation import gettext as _

from chat.errors import InvalidRequest
from inference.types import Constraint, SamplingParams

NAMES = tuple(field.name for field in fields(SamplingParams))
_LISTS = ("stop", "stop_token_ids")


def merged(defaults: SamplingParams, given: Mapping[str, Any]) -> SamplingParams:
    """`defaults` with what a request gave. A null leaves the default.

    Raises InvalidRequest for a name that does not exist, InvalidParameter for a value out of range.
    """
    unknown = sorted(set(given) - set(NAMES))
    if unknown:
        raise InvalidRequest(
            _("There is no sampling value called %(name)s. Known: %(known)s.")
            % {"name": repr(unknown[0]), "known": ", ".join(NAMES)},
            param=unknown[0],
        )
    return replace(defaults, **{k: _typed(k, v) for k, v in given.items() if v is not None})


def seeded(sampling: SamplingParams) -> SamplingParams:
    """With a seed of its own where none was asked for: drawn before the answer begins, so that the
    record has it however the answer ends, and whoever continues goes on in the same row of random
    numbers."""
    return sampling if sampling.seed is not None else replace(sampling, seed=secrets.randbits(32))


def as_json(sampling: SamplingParams) -> dict[str, Any]:
    return asdict(sampling)


def from_json(stored: Mapping[str, Any]) -> SamplingParams:
    return merged(SamplingParams(), stored)


def _typed(name: str, value: Any) -> Any:
    if name in _LISTS:
        return _sequence(name, value)
    if name == "logit_bias":
        return _biases(value)
    if name == "constraint":
        return _constraint(value)
    if name == "ignore_eos" and not isinstance(value, bool):
        raise _wrong(name, value, _("true or false"))
    return value


def _sequence(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str) and name == "stop":
        return (value,)
    if not isinstance(value, list | tuple):
        raise _wrong(name, value, _("a list"))
    return tuple(value)


def _biases(value: Any) -> dict[int, float]:
    try:
        return {int(token): bias for token, bias in value.items()}
    except (AttributeError, ValueError, TypeError):
        raise _wrong("logit_bias", value, _("an object from token ids to numbers")) from None


def _constraint(value: Any) -> Constraint:
    if isinstance(value, Constraint):
        return value
    if not isinstance(value, dict) or not {"kind"} <= set(value) <= {"kind", "text"}:
        raise _wrong("constraint", value, _("an object with kind and text"))
    return Constraint(**value)


def _wrong(name: str, value: Any, allowed: str) -> InvalidRequest:
    return InvalidRequest(
        _("%(name)s = %(value)s is not allowed: it must be %(allowed)s.")
        % {"name": name, "value": repr(value)[:100], "allowed": allowed},
        param=name,
    )
