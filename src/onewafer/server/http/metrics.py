"""Prometheus metrics under vLLM's names; the label `clock` says whose time it is."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from onewafer.server.dialects.chunks import FINISH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client import Metric

    from onewafer.server.contract.events import Completed, Reason
    from onewafer.server.contract.service import Service

SECONDS = (
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
"""Upper bounds of buckets, from far below a millisecond, as wafers need."""


class Histogram:
    """A histogram: counts of values in buckets, and their sum."""

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        """The sum of the values."""

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value `times` times."""
        self._counts[bisect_left(self._bounds, value)] += times
        self.total += value * times

    def observe_each(self, values: Sequence[float]) -> None:
        """Count several values."""
        bounds, counts = self._bounds, self._counts
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self.total += sum(values)

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts: upper bounds, each with the number of values up to it.

        >>> histogram = Histogram((1.0, 2.0))
        >>> histogram.observe(1.5, times=3)
        >>> histogram.buckets
        [('1.0', 0), ('2.0', 3), ('+Inf', 3)]
        """
        names = [*map(repr, self._bounds), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))


MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_WAFER, _HOST = "wafer", "host"
_TIMES = {
    "time_to_first_token_seconds": "From the arrival to the first token.",
    "inter_token_latency_seconds": "From a token to the next.",
    "e2e_request_latency_seconds": "From the arrival to the last token.",
    "request_queue_time_seconds": "From the arrival to the first launch.",
    "request_prefill_time_seconds": "From the first launch to the first token.",
    "request_decode_time_seconds": "From the first token to the last.",
}
_ON_WAFER_ONLY = {
    "request_queue_time_seconds",
    "request_prefill_time_seconds",
    "request_decode_time_seconds",
}


class Metrics(Collector):
    """Counts requests and tokens; the registry collects all metrics at each scrape."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._times = {
            (name, clock): Histogram()
            for name in _TIMES
            for clock in (_WAFER, _HOST)
            if clock == _WAFER or name not in _ON_WAFER_ONLY
        }
        self._host_gaps = self._times["inter_token_latency_seconds", _HOST]
        self._ends: Counter[str] = Counter(dict.fromkeys(FINISH.values(), 0))
        self._prompt_tokens = self._cached_tokens = self._new_tokens = 0
        self._joules = 0.0
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)

    def count_end(self, reason: Reason) -> None:
        """Count a complete answer."""
        self._ends[FINISH[reason]] += 1

    def observe_host_gaps(self, seconds: float, num_tokens: int) -> None:
        """Count the gaps between `num_tokens` tokens on this computer."""
        self._host_gaps.observe(seconds, num_tokens)

    def count_request(
        self,
        completed: Completed,
        *,
        ttft_seconds: float,
        total_seconds: float,
    ) -> None:
        """Count a complete request; the times are those that its client waited."""
        usage, times = completed.usage, completed.times
        self._prompt_tokens += usage.prompt_tokens
        self._cached_tokens += usage.cached_tokens
        self._new_tokens += usage.completion_tokens
        self._joules += times.joules
        on_wafer = {
            "time_to_first_token_seconds": times.queue_seconds + times.prompt_seconds,
            "e2e_request_latency_seconds": times.total_seconds,
            "request_queue_time_seconds": times.queue_seconds,
            "request_prefill_time_seconds": times.prompt_seconds,
            "request_decode_time_seconds": times.completion_seconds,
        }
        for name, seconds in on_wafer.items():
            self._times[name, _WAFER].observe(seconds)
        self._times["inter_token_latency_seconds", _WAFER].observe_each(completed.gaps)
        self._times["time_to_first_token_seconds", _HOST].observe(ttft_seconds)
        self._times["e2e_request_latency_seconds", _HOST].observe(total_seconds)

    def collect(self) -> Iterable[Metric]:
        """Yield every metric."""
        names = [model.id for model in self._service.models]
        model = names[0] if names else ""
        yield from self._gauges(model)
        yield from self._counters(model)
        for name, text in _TIMES.items():
            family = HistogramMetricFamily(f"vllm:{name}", text, labels=("model_name", "clock"))
            for clock in (_WAFER, _HOST):
                histogram = self._times.get((name, clock))
                if histogram is not None:
                    family.add_metric((model, clock), histogram.buckets, histogram.total)
            yield family

    def _gauges(self, model: str) -> Iterable[Metric]:
        counters = self._service.counters
        values = {
            "num_requests_running": (counters.running, "Requests that are being computed."),
            "num_requests_waiting": (counters.waiting, "Requests in the queue."),
            "kv_cache_usage_perc": (
                counters.cache_fraction,
                "Share of the room for keys and values that is in use, 0 to 1.",
            ),
        }
        for name, (value, text) in values.items():
            family = GaugeMetricFamily(f"vllm:{name}", text, labels=("model_name",))
            family.add_metric((model,), value)
            yield family

    def _counters(self, model: str) -> Iterable[Metric]:
        ends = CounterMetricFamily(
            "vllm:request_success",
            "Answers that are complete.",
            labels=("model_name", "finished_reason"),
        )
        for reason, count in self._ends.items():
            ends.add_metric((model, reason), count)
        yield ends
        values = {
            "vllm:prompt_tokens": (self._prompt_tokens, "Tokens of prompts."),
            "vllm:generation_tokens": (self._new_tokens, "Tokens of answers."),
            "vllm:prefix_cache_queries": (self._prompt_tokens, "Tokens looked up in the cache."),
            "vllm:prefix_cache_hits": (self._cached_tokens, "Tokens found in the cache."),
            "onewafer:energy_joules": (self._joules, "Energy of complete requests."),
        }
        for name, (value, text) in values.items():
            family = CounterMetricFamily(name, text, labels=("model_name",))
            family.add_metric((model,), value)
            yield family
