"""What this process counts while it works; the rest is read from the engine when it is asked for
(`chat.monitoring.engine_state`). The names are vLLM's, with our prefix."""

from __future__ import annotations

from bisect import bisect_left

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

PREFIX = "tinyllm_"
# Until the first token of an answer: a short prompt in a warm cache, to a long one behind others.
FIRST_TOKEN_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0,
)  # fmt: skip
TOKEN_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
)  # fmt: skip
REQUEST_S = (
    0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0,
    240.0, 480.0,
)  # fmt: skip

disable_created_metrics()  # type: ignore[no-untyped-call] # series that nobody draws

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)


class TokenHistogram(Histogram):
    """A histogram that is told of several tokens at once, at the price of one."""

    def observe_each(self, amount: float, count: int) -> None:
        """Observe `amount` so many times."""
        self._sum.inc(amount * count)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(count)


def _counter(name: str, words: str, *labels: str) -> Counter:
    return Counter(PREFIX + name, words, ["model_name", *labels], registry=REGISTRY)


def _histogram(name: str, words: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(PREFIX + name, words, ["model_name"], buckets=buckets, registry=REGISTRY)


PROMPT_TOKENS = _counter("prompt_tokens", "Tokens of prompts, read or cached.")
GENERATION_TOKENS = _counter("generation_tokens", "Tokens that were generated.")
PREFIX_QUERIES = _counter(
    "prefix_cache_queries", "Prompt tokens that were looked for in the cache."
)
PREFIX_HITS = _counter("prefix_cache_hits", "Prompt tokens found in the cache.")
SUCCESSES = _counter("request_success", "Requests that are over.", "finished_reason")
FIRST_TOKEN = _histogram(
    "time_to_first_token_seconds", "From the request to its first token.", FIRST_TOKEN_S
)
BETWEEN_TOKENS = TokenHistogram(
    PREFIX + "inter_token_latency_seconds",
    "Between two tokens of an answer.",
    ["model_name"],
    buckets=TOKEN_S,
    registry=REGISTRY,
)
REQUEST_TIME = _histogram(
    "e2e_request_latency_seconds", "From the request to its last token.", REQUEST_S
)
QUEUE_TIME = _histogram("request_queue_time_seconds", "Waiting to be admitted.", REQUEST_S)
WS_CONNECTIONS = Gauge(PREFIX + "ws_connections", "Open websockets.", registry=REGISTRY)
STREAM_RESUMES = Counter(
    PREFIX + "stream_resumes",
    "Readers that came back to an answer while it was being written.",
    registry=REGISTRY,
)
