"""Values that a study may hold: what TOML writes, JSON carries and Parquet keeps."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, TypeAlias

from onewafer.errors import ConfigurationError
from onewafer.units import parse_hertz

if TYPE_CHECKING:
    from collections.abc import Mapping

Plain: TypeAlias = bool | int | float | str

_SIZE = re.compile(r"(\d+(?:\.\d+)?(?:[eE]\d+)?)\s*([kKMGT]?)(i?)B?(?:/s)?")
_POWERS = {"": 0, "k": 1, "M": 2, "G": 3, "T": 4}


def to_json(value: Mapping[str, object]) -> str:
    """Return the one JSON text of a mapping: sorted keys, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def as_plain(name: str, value: object) -> Plain:
    """Return a value as it is; raise ConfigurationError for a list, a table or a date."""
    if not isinstance(value, bool | int | float | str):
        raise ConfigurationError(f"{name} = {value!r}: write a number, true, or a text")
    return value


def as_text(name: str, value: object) -> str:
    """Return a text; raise ConfigurationError for anything else."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name} = {value!r}: write a text in quotes")
    return value.strip()


def as_whole(name: str, value: object) -> int:
    """Return a whole number of at least 1; raise ConfigurationError for anything else."""
    number = as_number(name, value)
    if number != int(number) or number < 1:
        raise ConfigurationError(f"{name} = {value!r}: write a whole number of at least 1")
    return int(number)


def as_number(name: str, value: object) -> float:
    """Return a number that is not negative; raise ConfigurationError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigurationError(f"{name} = {value!r}: write a number that is not negative")
    return value


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


def as_hertz(name: str, value: object) -> float:
    """Return hertz of a number or a frequency.

    >>> as_hertz("clock", "850MHz")
    850000000.0
    """
    return parse_hertz(value) if isinstance(value, str) else float(as_number(name, value))


def spelled(value: object) -> str:
    """Return a value as tables and messages show it.

    >>> spelled(1_048_576), spelled(0.00067047), spelled("cs3"), spelled(None)
    ('1,048,576', '0.00067', 'cs3', '–')
    """
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
