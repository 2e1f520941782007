"""What the engine says of itself at this moment, as metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from chat.monitoring.registry import PREFIX
from inference.types import EngineStatus


class EngineState(Collector):
    """Metrics of one look at the engine. A model goes by its first name."""

    def __init__(self, status: EngineStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        labels = ["model_name"]
        running = GaugeMetricFamily(
            PREFIX + "num_requests_running", "Requests that are computed.", labels=labels
        )
        waiting = GaugeMetricFamily(
            PREFIX + "num_requests_waiting", "Requests that wait.", labels=labels
        )
        usage = GaugeMetricFamily(
            PREFIX + "kv_cache_usage_perc", "Used share of the KV cache; 1 is full.", labels=labels
        )
        preemptions = CounterMetricFamily(
            PREFIX + "num_preemptions", "Requests that were put aside for others.", labels=labels
        )
        for model in self._status.models:
            name = [model.names[0]]
            running.add_metric(name, model.running)
            waiting.add_metric(name, model.waiting)
            if model.total_blocks:
                usage.add_metric(name, model.used_blocks / model.total_blocks)
            preemptions.add_metric(name, model.totals.preemptions)
        yield from (running, waiting, usage, preemptions)
        cancels = self._status.cancels
        latency = HistogramMetricFamily(
            PREFIX + "cancel_latency_seconds", "From a reader's leaving to free cache blocks."
        )
        latency.add_metric([], buckets=cancels.up_to(), sum_value=cancels.seconds)
        yield latency
