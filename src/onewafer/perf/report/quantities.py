"""The quantities of an answer, one line each: name, unit, and how they are printed.

Table, JSON and frame all show these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.perf.jobs import Forward, Prefill, Train
from onewafer.units import format_duration, format_joules, format_rate, format_seconds, format_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.perf.answer import Answer

_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of an answer."""

    name: str
    """The name in JSON and in frames, with its unit."""
    title: str
    read: Callable[[Answer], float | None]
    write: Callable[[float], str]
    """Format the number for people."""


def _percent(fraction: float) -> str:
    percent = 100 * fraction
    return f"{percent:.1f} %" if percent >= 1 or not percent else f"{percent:.2g} %"


def _whole(number: float) -> str:
    return f"{number:,.0f}"


def _power(watts: float) -> str:
    return f"{format_rate(watts / 1e3)} kW"


def _long(seconds: float) -> str:
    days = seconds / _DAY
    return f"{format_rate(days)} days" if days >= 2 else format_duration(seconds)  # noqa: PLR2004


def _tokens(read: Callable[[Answer], float | None]) -> Callable[[Answer], float | None]:
    """Return a reader that gives None for answers that count samples instead of tokens."""
    return lambda answer: None if answer.tokens_per_sample is not None else read(answer)


def _mfu(answer: Answer) -> float | None:
    return answer.mfu if isinstance(answer.job, Prefill | Forward | Train) else None


def _samples_per_device(answer: Answer) -> float | None:
    rate = answer.samples_per_second
    return None if rate is None else rate / answer.num_devices


QUANTITIES = (
    Quantity("num_devices", "wafers or GPUs", lambda a: a.num_devices, _whole),
    Quantity(
        "tokens_per_second_per_user",
        "tokens/s per user",
        lambda a: a.tokens_per_second_per_user,
        format_rate,
    ),
    Quantity(
        "tokens_per_second",
        "tokens/s of the system",
        _tokens(lambda a: a.tokens_per_second),
        format_rate,
    ),
    Quantity(
        "tokens_per_second_per_device",
        "tokens/s per wafer or GPU",
        _tokens(lambda a: a.tokens_per_second / a.num_devices),
        format_rate,
    ),
    Quantity(
        "samples_per_second",
        "samples/s of the system",
        lambda a: a.samples_per_second,
        format_rate,
    ),
    Quantity(
        "samples_per_second_per_device",
        "samples/s per wafer or GPU",
        _samples_per_device,
        format_rate,
    ),
    Quantity("ttft_seconds", "time to first token", lambda a: a.ttft_seconds, format_seconds),
    Quantity("tpot_seconds", "time per output token", lambda a: a.tpot_seconds, format_seconds),
    Quantity("pass_seconds", "time of a batch", lambda a: a.pass_seconds, format_seconds),
    Quantity("total_seconds", "time of the run", lambda a: a.total_seconds, _long),
    Quantity(
        "joules_per_token", "energy per token", _tokens(lambda a: a.joules_per_token), format_joules
    ),
    Quantity(
        "joules_per_sample", "energy per sample", lambda a: a.joules_per_sample, format_joules
    ),
    Quantity("watts", "power", lambda a: a.watts, _power),
    Quantity(
        "price_per_million_tokens",
        "price of 1 M tokens",
        _tokens(lambda a: a.price_per_million_tokens),
        format_rate,
    ),
    Quantity(
        "price_per_million_samples",
        "price of 1 M samples",
        lambda a: a.price_per_million_samples,
        format_rate,
    ),
    Quantity("mfu", "model FLOP utilisation", _mfu, _percent),
    Quantity("memory_used_bytes", "memory used", lambda a: a.memory.used_bytes, format_size),
    Quantity(
        "memory_available_bytes",
        "memory of the system",
        lambda a: a.memory.available_bytes,
        format_size,
    ),
    Quantity("weight_bytes", "weights", lambda a: a.memory.weight_bytes, format_size),
    Quantity("cache_bytes", "KV cache", lambda a: a.memory.cache_bytes, format_size),
    Quantity("longest_context", "longest context", lambda a: a.memory.longest_context, _whole),
    Quantity(
        "cross_checked_fraction",
        "time cross-checked",
        lambda a: a.breakdown.cross_checked_fraction,
        _percent,
    ),
)
