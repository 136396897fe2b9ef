"""Quantities as people read them."""

import pytest

from onewafer.units import format_bytes, format_hertz, format_seconds, to_seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.5, "1.5 s"), (0.00123, "1.23 ms"), (0.0000123, "12.3 µs"), (1.2e-9, "1.2 ns"), (0, "0 ns")],
)
def test_seconds(seconds, text):
    assert format_seconds(seconds) == text


def test_cycles_take_time():
    assert to_seconds(850, clock_hertz=850e6) == 1e-6


@pytest.mark.parametrize(("hertz", "text"), [(850e6, "850 MHz"), (1.1e9, "1.1 GHz")])
def test_hertz(hertz, text):
    assert format_hertz(hertz) == text


def test_bytes():
    assert format_bytes(49152) == "49,152 B"
