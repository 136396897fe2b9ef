"""Numbers of the machine that a study may set: the names below, or fields of the machine.

    pes             PEs of the wafer that programs can use: a number, or "WxH"
    sram            bytes of SRAM a PE
    hop_latency     cycles of a hop; the way of a credit back takes as long, and routers have the
                    places that full rate needs
    link_width      wavelets that a link carries in a cycle
    off_wafer_link  bytes a second across the edge of the wafer
    clock           hertz

A field (`hop_cycles`, `elements_per_cycle.fmach`) changes one number and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from onewafer.arch import changeable_fields, load_architecture, variant_name
from onewafer.errors import ConfigurationError
from onewafer.geometry import parse_size
from onewafer.sweep.inputs.plain import as_bytes, as_hertz, as_number, as_plain, as_size, as_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onewafer.arch import Architecture
    from onewafer.sweep.inputs.plain import Plain

    Number = int | float | Fraction

TABLES = ("instruction_cycles.", "elements_per_cycle.")
"""The machine's tables, as prefixes of the names of their entries."""
_CLOCK = "clock"
_MOST_PARTS = 64
"""Denominator of a link's rate."""


def _pes(name: str, value: object) -> Plain:
    if not isinstance(value, str):
        return as_whole(name, value)
    width, height = as_size(name, value)
    return f"{width}x{height}"


def _width(name: str, value: object) -> float:
    number = as_number(name, value)
    if not 1 / _MOST_PARTS <= number <= _MOST_PARTS:
        raise ConfigurationError(
            f"{name} = {value!r}: write wavelets a cycle, from 1/{_MOST_PARTS} to {_MOST_PARTS}"
        )
    return float(number)


_WORDS: dict[str, Callable[[str, object], Plain]] = {
    "pes": _pes,
    "sram": as_bytes,
    "hop_latency": as_whole,
    "link_width": _width,
    "off_wafer_link": as_bytes,
    _CLOCK: as_hertz,
}


def machine_axes() -> tuple[str, ...]:
    """Return the names, without the entries of tables."""
    return (*_WORDS, *(name for name in changeable_fields() if name != "clock_hertz"))


def is_machine_axis(name: str) -> bool:
    """Tell whether a name is that of a number of the machine."""
    return name in machine_axes() or name.startswith(TABLES)


def parse_machine_axis(name: str, value: object) -> Plain:
    """Return the parsed value of a number of the machine; raise ConfigurationError for others."""
    parse = _WORDS.get(name)
    if parse is not None:
        return parse(name, value)
    if isinstance(value, str):
        return value  # a rate, `8/9`; the machine checks it
    number = as_number(name, value)
    return as_plain(name, int(number)) if number == int(number) else number


@dataclass(frozen=True, slots=True)
class Variant:
    """The changes of a point to a machine of the catalog."""

    changes: str
    """The changes as in the name of an architecture, without the machine."""
    clock_hertz: float | None


def variant_of(machine: str, inputs: Mapping[str, Plain], *, profile: str) -> Variant:
    """Return the changes of a point's inputs to a machine of the catalog.

    Raises ConfigurationError for two inputs that set one number, and for numbers that no machine
    has.
    """
    usual = load_architecture(machine, profile=profile)
    changes: dict[str, Number] = {}
    owners: dict[str, str] = {}
    clock = None
    for name, value in inputs.items():
        if name == _CLOCK:
            clock = float(value)
            continue
        if not is_machine_axis(name):
            continue
        for field, number in _fields_of(name, value, usual).items():
            if field in owners:
                raise ConfigurationError(
                    f"{owners[field]} and {name} both set {field} of the machine; leave one out"
                )
            owners[field] = name
            changes[field] = number
    text = variant_name(machine, changes).partition(":")[2]
    if text:
        load_architecture(f"{machine}:{text}", profile=profile)  # refuses impossible numbers
    return Variant(text, clock)


def _fields_of(name: str, value: Plain, usual: Architecture) -> dict[str, Number]:
    match name:
        case "pes":
            width, height = _sides(value, usual)
            return {
                "fabric_width": width + usual.margin_west + usual.margin_east,
                "fabric_height": height + usual.margin_north + usual.margin_south,
            }
        case "sram":
            return {"memory_bytes": int(value)}
        case "hop_latency":
            hop = int(value)
            places = max(usual.timing.router_buffer_words, 2 * hop)
            return {"hop_cycles": hop, "credit_cycles": hop, "router_buffer_words": places}
        case "link_width":
            rate = Fraction(float(value)).limit_denominator(_MOST_PARTS)
            return {"link_window_words": rate.numerator, "link_window_cycles": rate.denominator}
        case "off_wafer_link":
            return {"io_bytes_per_second": float(value)}
        case _:
            return {name: _rate(name, value) if isinstance(value, str) else value}


def _rate(name: str, text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ConfigurationError(f"{name} = {text!r}: write a number or a rate, 8/9") from None


def _sides(value: Plain, usual: Architecture) -> tuple[int, int]:
    """Return width and height of a number of PEs, in the proportion of the usual machine."""
    if isinstance(value, str):
        return parse_size(value)
    width = usual.fabric_width - usual.margin_west - usual.margin_east
    height = usual.fabric_height - usual.margin_north - usual.margin_south
    scale = math.sqrt(int(value) / (width * height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def machine_numbers(machine: str, changes: str, *, profile: str) -> dict[str, Plain]:
    """Return the numbers of a point's machine that filters can use, by name."""
    found = load_architecture(f"{machine}:{changes}" if changes else machine, profile=profile)
    timing = found.timing
    width = found.fabric_width - found.margin_west - found.margin_east
    height = found.fabric_height - found.margin_north - found.margin_south
    return {
        "pes": width * height,
        "sram": found.memory_bytes,
        "hop_latency": timing.hop_cycles,
        "link_width": timing.link_window_words / timing.link_window_cycles,
        "off_wafer_link": found.io_bytes_per_second,
        _CLOCK: found.clock_hertz,
    }


def check_fabric(machine: str, changes: str, *, profile: str) -> None:
    """Raise ConfigurationError for a machine that only the closed forms support."""
    timing = load_architecture(
        f"{machine}:{changes}" if changes else machine, profile=profile
    ).timing
    if timing.link_window_words > timing.link_window_cycles:
        raise ConfigurationError(
            "a link of the simulated fabric carries one wavelet in a cycle at most; write a "
            "link_width of 1 or less, as in 0.5"
        )
