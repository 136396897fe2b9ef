"""Cycles, bytes and hertz, and how people read and write them."""

from __future__ import annotations

import re

from onewafer.errors import ConfigurationError

_MEGAHERTZ, _GIGAHERTZ = 1e6, 1e9
_HUNDRED = 100


def to_seconds(cycles: float, *, clock_hertz: float) -> float:
    """Return the time of a cycle count at a clock in hertz."""
    return cycles / clock_hertz


def format_seconds(seconds: float) -> str:
    """Return a time with three significant digits and a fitting unit.

    >>> format_seconds(0.0000123), format_seconds(0.0009999), format_seconds(1234)
    ('12.3 µs', '1 ms', '1,230 s')
    """
    rounded = float(f"{seconds:.3g}")
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if rounded >= size:
            return f"{format_rate(rounded / size)} {unit}"
    return f"{rounded / 1e-9:.3g} ns"


def format_joules(joules: float) -> str:
    """Return an energy with three significant digits and a fitting unit.

    >>> format_joules(0.0123), format_joules(1803.7), format_joules(2e-5)
    ('12.3 mJ', '1,800 J', '20 µJ')
    """
    for unit, size in (("J", 1.0), ("mJ", 1e-3)):
        if joules >= size:
            return f"{format_rate(joules / size)} {unit}"
    return f"{format_rate(joules / 1e-6)} µJ"


def format_count(count: float) -> str:
    """Return a count with three significant digits and a unit prefix.

    >>> format_count(2_534_000), format_count(12), format_count(999_999)
    ('2.53 M', '12', '1 M')
    """
    rounded = float(f"{count:.3g}")
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if rounded >= size:
            return f"{rounded / size:.3g} {prefix}"
    return f"{rounded:.3g}"


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count_of(1, "launch"), count_of(1200, "launch"), count_of(2, "row")
    ('1 launch', '1,200 launches', '2 rows')
    """
    plural = f"{noun}es" if noun.endswith(("ch", "ss")) else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def format_duration(seconds: float) -> str:
    """Return a duration in whole seconds, minutes or hours.

    >>> format_duration(7.4), format_duration(83), format_duration(7384)
    ('7 s', '1:23 min', '2:03:04 h')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02} h"
    return f"{minutes}:{rest:02} min" if minutes else f"{rest} s"


def format_bytes(num_bytes: int) -> str:
    """Return a byte count with thousands separators.

    >>> format_bytes(49152)
    '49,152 B'
    """
    return f"{num_bytes:,} B"


def format_hertz(hertz: float) -> str:
    """Return a clock in MHz or GHz.

    >>> format_hertz(850e6)
    '850 MHz'
    """
    is_giga = hertz >= _GIGAHERTZ
    return f"{hertz / _GIGAHERTZ:g} GHz" if is_giga else f"{hertz / _MEGAHERTZ:g} MHz"


def format_size(num_bytes: float) -> str:
    """Return a byte count with three significant digits and a decimal prefix (1 GB = 10⁹ bytes).

    >>> format_size(16_060_522_496), format_size(48_000), format_size(7)
    ('16.1 GB', '48 kB', '7 B')
    """
    rounded = float(f"{num_bytes:.3g}")
    for prefix, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if rounded >= size:
            return f"{_three_digits(rounded / size)} {prefix}"
    return f"{_three_digits(rounded)} B"


def format_rate(per_second: float) -> str:
    """Return a rate with three significant digits, all places before the point written out.

    >>> format_rate(1803.7), format_rate(0.01234), format_rate(88.4)
    ('1,800', '0.0123', '88.4')
    """
    rounded = float(f"{per_second:.3g}")
    return f"{rounded:,.0f}" if rounded >= _HUNDRED else _three_digits(rounded)


def _three_digits(number: float) -> str:
    return f"{number:.3g}" if number < 1e3 else f"{number:.0f}"  # noqa: PLR2004  # no exponent


_LEAST_HERTZ, _MOST_HERTZ = 1e6, 1e11
"""The clocks that a user can mean; any other is a mistake in the unit."""


def check_clock(hertz: float) -> None:
    """Raise ConfigurationError for a clock that no wafer has, such as 850 instead of 850 MHz."""
    if not _LEAST_HERTZ <= hertz <= _MOST_HERTZ:
        raise ConfigurationError(
            f"a wafer has no clock of {hertz:g} Hz; write one between 1 MHz and 100 GHz, as in "
            "850MHz"
        )


_HERTZ = {"": 1.0, "hz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9}


def parse_hertz(text: str) -> float:
    """Return the frequency in hertz of a number with an optional unit.

    >>> parse_hertz("850MHz")
    850000000.0
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?(?:[eE]\d+)?)\s*([kmg]?hz)?", text.strip().lower())
    if match is None or float(match[1]) == 0:
        raise ConfigurationError(f"clock {text!r}: write a frequency, e.g. 850MHz or 1.1GHz")
    return float(match[1]) * _HERTZ[match[2] or ""]
