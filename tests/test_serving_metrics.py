"""The arithmetic of a load, on made-up times."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import replace
from itertools import pairwise

import pytest

from inference.errors import InvalidParameter
from inference.serving_metrics import RequestTimes, figures, percentile, start_times, table

# Seven tokens in three frames, and a single token.
LONG = RequestTimes(10.0, (10.5, 10.75, 11.75), prompt_tokens=4, output_tokens=7)
SHORT = RequestTimes(12.0, (12.25,), prompt_tokens=6, output_tokens=1)


def test_times_of_one_request() -> None:
    assert (LONG.ttft, LONG.e2el, LONG.itl) == (0.5, 1.75, [0.25, 1.0])
    # frames are not divided; what a token took is reckoned over the whole answer
    assert LONG.tpot == (1.75 - 0.5) / 6
    assert (SHORT.ttft, SHORT.e2el, SHORT.itl, SHORT.tpot) == (0.25, 0.25, [], None)


def test_figures_of_a_run() -> None:
    report = figures([LONG, SHORT], 4.0, {"queue_full": 2})
    assert (report["completed"], report["failed"]) == (2, {"queue_full": 2})
    assert (report["prompt_tokens"], report["output_tokens"]) == (10, 8)
    assert report["requests_per_s"] == 0.5
    assert (report["output_tokens_per_s"], report["total_tokens_per_s"]) == (2.0, 4.5)
    assert report["tokens_per_frame"] == 8 / 4
    assert report["ttft_ms"]["mean"] == report["ttft_ms"]["p50"] == 375
    assert report["tpot_ms"]["p99"] == pytest.approx(1250 / 6)  # of the long one alone
    assert report["itl_ms"]["p90"] == pytest.approx(250 + 0.9 * 750)
    assert report["e2el_ms"]["mean"] == 1000
    assert json.loads(json.dumps(report)) == report


def test_figures_of_the_time_in_which_all_are_answered() -> None:
    """The first one starts alone, and the second goes on when it has ended."""
    first = RequestTimes(0.0, (1.0, 2.0, 3.0, 4.0), prompt_tokens=1, output_tokens=8)
    second = RequestTimes(0.0, (2.0, 3.5, 4.0, 9.0), prompt_tokens=1, output_tokens=4)
    its = figures([first, second], 9.0)["together"]
    assert (its["readers"], its["seconds"]) == (2, 2.0)
    # two frames of two tokens, and two of one
    assert (its["output_tokens_per_s"], its["frames_per_s"]) == (3.0, 1.0)
    assert its["itl_ms"]["mean"] == 1000
    uneven = replace(second, sizes=(5, 1, 2, 12))
    its = figures([first, uneven], 9.0)["together"]
    assert its["output_tokens_per_s"] == pytest.approx((4 + 4 * 3 / 20) / 2)
    assert figures([LONG, SHORT], 4.0)["together"] is None


def test_percentiles_are_those_of_the_statistics_module() -> None:
    values = [1.0, 2.0, 4.0, 8.0, 9.0, 20.0, 21.0]
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    for percent in (1, 50, 90, 99):
        assert percentile(values, percent) == pytest.approx(cuts[percent - 1])
    assert percentile([3.0], 99) == 3
    assert (percentile(values, 0), percentile(values, 100)) == (1, 21)


def test_a_run_in_which_nothing_succeeded_has_a_report_and_a_table() -> None:
    report = figures([], 1.0, {"queue_full": 3})
    assert report["requests_per_s"] == 0
    assert report["ttft_ms"] is report["itl_ms"] is report["tokens_per_frame"] is None
    assert "0 done, 3 queue_full failed" in table("all at once", report)


def test_the_table_says_every_figure_with_its_unit() -> None:
    text = table("chat", figures([LONG, SHORT], 4.0))
    assert text.splitlines() == [
        "chat: 2 done, none failed, 4.0 s",
        "0.50 requests/s, 2.0 output tokens/s, 4.5 tokens/s, 2.00 tokens per frame",
        "ms           mean        p50        p90        p99",
        "TTFT       375.00     375.00     475.00     497.50",
        "TPOT       208.33     208.33     208.33     208.33",
        "ITL        625.00     625.00     925.00     992.50",
        "E2EL      1000.00    1000.00    1600.00    1735.00",
    ]


def test_starts_are_a_poisson_process() -> None:
    starts = start_times(20001, 4.0, seed=1)
    assert starts[0] == 0
    assert starts == sorted(starts)
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    # exponential gaps: mean and deviation are both 1 / rate
    assert statistics.mean(gaps) == pytest.approx(0.25, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(0.25, rel=0.03)
    assert start_times(5, 4.0, seed=1) == starts[:5]
    assert start_times(5, 4.0, seed=2) != starts[:5]
    assert start_times(3, math.inf, seed=1) == [0, 0, 0]


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(InvalidParameter, match=f"rate = {rate}"):
        start_times(3, rate, seed=0)
