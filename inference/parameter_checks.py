"""Checks of single values. All raise InvalidParameter, which names the value."""

from __future__ import annotations

import math

from inference.errors import InvalidParameter


def check(ok: bool, param: str, value: object, allowed: str) -> None:
    if not ok:
        raise InvalidParameter(param, value, allowed)


def number(param: str, value: object) -> float:
    ok = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    check(ok, param, value, "a finite number")
    return float(value)  # type: ignore[arg-type]


def check_number(param: str, value: object, low: float, high: float) -> None:
    check(low <= number(param, value) <= high, param, value, f"between {low} and {high}")


def check_integer(param: str, value: object, low: int, high: int | None) -> None:
    top = math.inf if high is None else high
    ok = isinstance(value, int) and not isinstance(value, bool) and low <= value <= top
    bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
    check(ok, param, value, f"an integer {bounds}")
