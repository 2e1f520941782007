"""A request is refused where it is made, by an error that names the parameter and its value."""

from __future__ import annotations

import math
from typing import Any

import pytest

from inference.errors import InvalidParameter
from inference.types import Delta, GenerateRequest, SamplingParams

NAN, INF = math.nan, math.inf

REFUSED: dict[str, list[Any]] = {
    "temperature": [-0.1, 2.1, NAN, INF, "1", None, True],
    "top_k": [-1, 1.5, True, "3", None],
    "top_p": [0, -0.5, 1.01, NAN, "1", None],
    "min_p": [-0.1, 1.1, NAN, None],
    "repetition_penalty": [0, -1, 10.5, INF, None],
    "presence_penalty": [-2.1, 2.1, NAN, None],
    "frequency_penalty": [-2.1, 2.1, -INF, None],
    "seed": [-1, 2**63, 1.0, True, "7"],
    "max_tokens": [0, -5, 2.0, True],
    "prompt_lookup": [-1, 17, 2.0, True, "4", None],
    "stop": [("",), ("a", ""), tuple("abcdefghijklmnopq")],
}
ACCEPTED: dict[str, list[Any]] = {
    "temperature": [0, 2, 0.7],
    "top_k": [0, 1, 10**6],
    "top_p": [1, 1e-9],
    "min_p": [0, 1],
    "repetition_penalty": [0.01, 10],
    "presence_penalty": [-2, 2],
    "frequency_penalty": [-2, 2],
    "seed": [None, 0, 2**63 - 1],
    "max_tokens": [None, 1],
    "prompt_lookup": [0, 1, 16],
    "stop": [(), ("a",), tuple("abcdefghijklmnop")],
    "stop_token_ids": [(), (0, 5)],
    "logit_bias": [{}, {0: -100, 5: 100}],
}


@pytest.mark.parametrize(
    ("param", "value"), [(param, value) for param, values in REFUSED.items() for value in values]
)
def test_a_value_outside_its_range_is_named(param: str, value: Any) -> None:
    with pytest.raises(InvalidParameter) as refused:
        SamplingParams(**{param: value})
    error = refused.value
    assert error.fields["param"] == param
    assert error.fields["value"] is value
    assert error.message.startswith(f"{param} = {value!r} is not allowed: it must be ")
    assert error.message.endswith(f"{error.fields['allowed']}.")


@pytest.mark.parametrize(
    ("param", "value"), [(param, value) for param, values in ACCEPTED.items() for value in values]
)
def test_the_ends_of_a_range_are_allowed(param: str, value: Any) -> None:
    assert getattr(SamplingParams(**{param: value}), param) == value


@pytest.mark.parametrize(
    ("bias", "param", "value"),
    [
        ({3: 101}, "logit_bias[3]", 101),
        ({3: NAN}, "logit_bias[3]", NAN),
        ({-1: 0}, "logit_bias token", -1),
        ({"3": 1}, "logit_bias token", "3"),
    ],
)
def test_a_wrong_bias_is_named_with_its_token(bias: Any, param: str, value: Any) -> None:
    with pytest.raises(InvalidParameter) as refused:
        SamplingParams(logit_bias=bias)
    assert (refused.value.fields["param"], refused.value.fields["value"]) == (param, value)


def test_a_wrong_stop_token_is_named() -> None:
    with pytest.raises(InvalidParameter, match="stop_token_ids = -4 is not allowed"):
        SamplingParams(stop_token_ids=(1, -4))


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="at least one token"):
        GenerateRequest("a", "tiny", ())


@pytest.mark.parametrize("start", [0, -1, 4])
def test_a_continued_answer_begins_inside_the_prompt(start: int) -> None:
    with pytest.raises(InvalidParameter, match=f"answer_start = {start} "):
        GenerateRequest("a", "tiny", (1, 2, 3), answer_start=start)


def test_joined_deltas_are_one_after_the_other() -> None:
    first, second = Delta("a", (1, 2), (0, 1)), Delta("b", (3,), (1,))
    assert first.joined(second) == Delta("ab", (1, 2, 3), (0, 1, 1))


@pytest.mark.parametrize("session", ["../x", "a/b", "", "x" * 65, "a.b"])
def test_a_session_is_named_like_a_file(session: str) -> None:
    with pytest.raises(InvalidParameter, match="session"):
        GenerateRequest("a", "tiny", (1,), session=session)
