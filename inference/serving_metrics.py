"""What a reader feels of a server, and what the server gets done: vLLM's definitions.

A reader gets frames, and a frame may carry several tokens. So the first token's time is that of the
first frame (TTFT), the gaps are those between frames (ITL), undivided, and beside them stands how
many tokens a frame carried. What one token took is reckoned over the whole answer (TPOT). What a
site adds to the engine's own time to the first token stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random
from typing import Any

from inference.errors import InvalidParameter

PERCENTILES = (50, 90, 99)
NAMES = {
    "ttft_ms": "TTFT",
    "tpot_ms": "TPOT",
    "itl_ms": "ITL",
    "e2el_ms": "E2EL",
    "added_ms": "added",
}


@dataclass(frozen=True, slots=True)
class RequestTimes:
    """One request that ended well. Times are seconds of one clock: sent, and the arrival of each
    frame that carried tokens, of which there is at least one. engine_s: of the time to the first
    token, what the engine says it took itself, with the wait in its queue. sizes: of the frames'
    texts; none where each frame carried as many tokens as the others."""

    sent: float
    arrivals: tuple[float, ...]
    prompt_tokens: int
    output_tokens: int
    engine_s: float | None = None
    sizes: tuple[int, ...] = ()

    def tokens_within(self, begin: float, end: float) -> float:
        """Of the frames that arrived then, by the share of the answer's text that they carried."""
        sizes = self.sizes or (1,) * len(self.arrivals)
        carried = sum(s for at, s in zip(self.arrivals, sizes, strict=True) if begin < at <= end)
        return self.output_tokens * carried / max(1, sum(sizes))

    @property
    def ttft(self) -> float:
        """Seconds to the first token."""
        return self.arrivals[0] - self.sent

    @property
    def e2el(self) -> float:
        """Seconds to the last token: end-to-end latency."""
        return self.arrivals[-1] - self.sent

    @property
    def tpot(self) -> float | None:
        """Seconds per token after the first; None for a single token."""
        others = self.output_tokens - 1
        return (self.e2el - self.ttft) / others if others > 0 else None

    @property
    def itl(self) -> list[float]:
        """Seconds between frames."""
        return [later - earlier for earlier, later in pairwise(self.arrivals)]


def figures(
    done: Sequence[RequestTimes], duration_s: float, failed: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """The report of one run, ready for JSON. duration_s: from the first request to the last one's
    end. failed: how many requests ended badly, by the code of the error; they count nowhere else.
    Of what nobody had, such as a time per token of single tokens, there is None."""
    prompt = sum(times.prompt_tokens for times in done)
    output = sum(times.output_tokens for times in done)
    frames = sum(len(times.arrivals) for times in done)
    return {
        "completed": len(done),
        "failed": dict(failed or {}),
        "duration_s": duration_s,
        "prompt_tokens": prompt,
        "output_tokens": output,
        "requests_per_s": len(done) / duration_s,
        "output_tokens_per_s": output / duration_s,
        "total_tokens_per_s": (prompt + output) / duration_s,
        "tokens_per_frame": output / frames if frames else None,
        "ttft_ms": summary(times.ttft for times in done),
        "tpot_ms": summary(times.tpot for times in done if times.tpot is not None),
        "itl_ms": summary(gap for times in done for gap in times.itl),
        "e2el_ms": summary(times.e2el for times in done),
        "added_ms": summary(t.ttft - t.engine_s for t in done if t.engine_s is not None),
        "together": together(done),
    }


def together(done: Sequence[RequestTimes]) -> dict[str, Any] | None:
    """While all of them were being answered, from the last one's first token to the first one's
    last: tokens per second of all, and of each one the frames per second and the gaps between them.
    None where there is no such time."""
    begin = max((times.arrivals[0] for times in done), default=0.0)
    end = min((times.arrivals[-1] for times in done), default=0.0)
    if end <= begin:
        return None
    gaps = list[float]()
    for times in done:
        within = [at for at in times.arrivals if begin <= at <= end]
        gaps += [later - earlier for earlier, later in pairwise(within)]
    frames = sum(begin < at <= end for times in done for at in times.arrivals)
    tokens = sum(times.tokens_within(begin, end) for times in done)
    return {
        "readers": len(done),
        "seconds": end - begin,
        "output_tokens_per_s": tokens / (end - begin),
        "frames_per_s": frames / len(done) / (end - begin),
        "itl_ms": summary(gaps),
    }


def summary(seconds: Iterable[float]) -> dict[str, float] | None:
    """Mean and percentiles in milliseconds."""
    values = sorted(1e3 * value for value in seconds)
    if not values:
        return None
    shares = {f"p{percent}": percentile(values, percent) for percent in PERCENTILES}
    return {"mean": sum(values) / len(values), **shares}


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Of values in ascending order, at least one; between two of them, in proportion."""
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def start_times(count: int, rate: float, seed: int) -> list[float]:
    """Seconds at which `count` requests start, the first at 0: a Poisson process of `rate` per
    second; all at once for inf. Raises InvalidParameter."""
    if not rate > 0:
        raise InvalidParameter("rate", rate, "above 0, or inf")
    draw = Random(seed)
    gaps = (draw.expovariate(1) / rate for _ in range(count - 1))
    return list(accumulate(gaps, initial=0.0))


def table(title: str, report: Mapping[str, Any]) -> str:
    """A run's figures as text."""
    failed = ", ".join(f"{count} {code}" for code, count in report["failed"].items())
    per_frame = report["tokens_per_frame"]
    lines = [
        f"{title}: {report['completed']} done, {failed or 'none'} failed, "
        f"{report['duration_s']:.1f} s",
        f"{report['requests_per_s']:.2f} requests/s, {report['output_tokens_per_s']:.1f} output "
        f"tokens/s, {report['total_tokens_per_s']:.1f} tokens/s"
        + (f", {per_frame:.2f} tokens per frame" if per_frame else ""),
        f"{'ms':<6}" + "".join(f"{name:>11}" for name in ("mean", *_percentile_names())),
    ]
    for key, name in NAMES.items():
        values = report[key] or {}
        if values or key != "added_ms":
            lines.append(f"{name:<6}" + "".join(f"{value:>11.2f}" for value in values.values()))
    if its := report["together"]:
        gaps = its["itl_ms"] or {"p50": math.nan, "p99": math.nan}
        lines.append(
            f"all {its['readers']} at once for {its['seconds']:.1f} s: "
            f"{its['output_tokens_per_s']:.1f} output tokens/s; each {its['frames_per_s']:.1f} "
            f"frames/s, gaps p50 {gaps['p50']:.1f} and p99 {gaps['p99']:.1f} ms"
        )
    if read := report.get("transcripts"):
        lines.append(f"{read['complete']} of {read['checked']} answers came whole and in order")
        lines += read["faults"]
    return "\n".join(lines)


def _percentile_names() -> list[str]:
    return [f"p{percent}" for percent in PERCENTILES]
