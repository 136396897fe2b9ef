"""Values that a study may hold: those that TOML, JSON and Parquet all have."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from onewafer.errors import ConfigurationError
from onewafer.options import (
    STUDY,
    errors_in,
    options_of,
    to_hertz,
    to_number,
    to_rectangle,
    to_text,
    whole,
)
from onewafer.units import format_hertz, format_seconds, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onewafer.options import Options

Plain: TypeAlias = bool | int | float | str
_Value = TypeVar("_Value")

_SIZE = re.compile(r"(\d{1,18}(?:\.\d+)?(?:[eE]\d{1,2})?)\s*([kKMGT]?)(i?)B?(?:/s)?")
_KIBI = 1024
_LONGEST = 1 << 63
_POWERS = {"": 0, "k": 1, "M": 2, "G": 3, "T": 4}


def to_json(value: Mapping[str, object]) -> str:
    """Return a mapping as JSON with sorted keys and no blanks: one text for equal mappings."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def as_plain(name: str, value: object) -> Plain:
    """Return a value as it is; raise ConfigurationError for what TOML or Parquet cannot hold."""
    if not isinstance(value, bool | int | float | str):
        raise ConfigurationError(f"{name} = {value!r}: write a number, true, or a text")
    if isinstance(value, int) and not -_LONGEST <= value < _LONGEST:
        raise ConfigurationError(f"{name}: a whole number has 64 bits with its sign in a study")
    return value


def _in_study(convert: Callable[[Any], _Value]) -> Callable[[str, object], _Value]:
    """Return a converter of values by name whose errors are those of a study."""

    def read(name: str, value: object) -> _Value:
        try:
            return convert(value)
        except ValueError as error:
            raise ConfigurationError(f"{STUDY.said(name, value)}: {error}") from None

    return read


as_text, as_whole = _in_study(to_text), _in_study(whole(1))
as_number, as_hertz = _in_study(to_number), _in_study(to_hertz)
as_size = _in_study(to_rectangle)


def parse_option(kind: type[Options], name: str, value: object) -> Plain:
    """Return the value of an option as a study holds it: converted if it is a number.

    Raises ConfigurationError for one that the option cannot have.
    """
    (found,) = (one for one in options_of(kind) if one.name == name)
    with errors_in(STUDY):
        converted = found.convert(value)
    return as_text(name, value) if isinstance(value, str) else as_plain(name, converted)


def as_bytes(name: str, value: object) -> int:
    """Return bytes of a number or a size.

    >>> as_bytes("sram", "48KiB"), as_bytes("sram", "48kB"), as_bytes("off_wafer_link", "150GB/s")
    (49152, 48000, 150000000000)
    """
    if not isinstance(value, str):
        return as_whole(name, value)
    found = _SIZE.fullmatch(value.strip())
    if found is None:
        raise ConfigurationError(f'{name} = {value!r}: write bytes, as in 49152, "48KiB" or "48kB"')
    base = 1024 if found[3] else 1000
    unit = "k" if found[2] == "K" else found[2]
    return as_whole(name, round(float(found[1]) * base ** _POWERS[unit]))


class Unit(StrEnum):
    """The unit of a column, as its name tells."""

    NONE = ""
    SECONDS = "s"
    BYTES = "B"
    MEMORY = "KiB"
    """Bytes of a memory, whose sizes are multiples of 1024."""
    RATE = "B/s"
    HERTZ = "Hz"


_UNITS = {"sram": Unit.MEMORY, "off_wafer_link": Unit.RATE, "clock": Unit.HERTZ}


@cache
def unit_of(name: str) -> Unit:
    """Return the unit of a column.

    >>> unit_of("ttft_seconds"), unit_of("tokens_per_second")
    (<Unit.SECONDS: 's'>, <Unit.NONE: ''>)
    """
    last = name.rpartition("_")[2]
    return _UNITS.get(name) or {"seconds": Unit.SECONDS, "bytes": Unit.BYTES}.get(last, Unit.NONE)


def spelled(value: object, name: str = "") -> str:
    """Return a value as tables and pictures show it in the column of a name.

    >>> spelled(1_048_576), spelled(0.00067047), spelled("cs3"), spelled(None)
    ('1,048,576', '0.00067', 'cs3', '–')
    >>> spelled(49152, "sram"), spelled(850e6, "clock"), spelled(0.00067047, "tpot_seconds")
    ('48 KiB', '850 MHz', '670 µs')
    """
    match value, unit_of(name):
        case int() | float(), Unit.SECONDS if value > 0:
            return format_seconds(value)
        case int() | float(), Unit.MEMORY if value % _KIBI == 0:
            return f"{value // _KIBI:,.0f} KiB"
        case int() | float(), Unit.MEMORY | Unit.BYTES:
            return format_size(value)
        case int() | float(), Unit.RATE:
            return f"{format_size(value)}/s"
        case int() | float(), Unit.HERTZ:
            return format_hertz(value)
        case _:
            return _spelled(value)


def _spelled(value: object) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float() if value.is_integer() and abs(value) < 1e15:  # noqa: PLR2004  # exact
            return f"{value:,.0f}"
        case float():
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"  # noqa: PLR2004  # digits
        case _:
            return str(value)
