"""Cycles, bytes and hertz, and how people read them."""

from __future__ import annotations

_MEGAHERTZ, _GIGAHERTZ = 1e6, 1e9


def to_seconds(cycles: float, *, clock_hertz: float) -> float:
    """Return the time of a cycle count at a clock in hertz."""
    return cycles / clock_hertz


def format_seconds(seconds: float) -> str:
    """Return a time with three significant digits and a fitting unit.

    >>> format_seconds(0.0000123)
    '12.3 µs'
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


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
