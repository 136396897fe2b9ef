"""Axes of a study: a list of values, or a range.

axis  := [value, …] | range
range := { from = number, to = number [, count = number] [, scale = "log" | "linear"] }
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from onewafer.errors import ConfigurationError
from onewafer.sweep.inputs.names import as_table, check_keys
from onewafer.sweep.inputs.plain import as_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onewafer.sweep.inputs.plain import Plain

    Parse = Callable[[str, object], Plain]
    """Reads a value of a named input, or raises ConfigurationError."""

_KEYS = ("from", "to", "count", "scale")
_LINEAR, _LOG = "linear", "log"
_MOST_VALUES = 1_000_000


@dataclass(frozen=True, slots=True)
class Listed:
    """An axis with values of its own."""

    name: str
    values: tuple[Plain, ...]

    def at(self, share: float) -> Plain:
        """Return the value at a share of the axis, 0 to 1."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]


@dataclass(frozen=True, slots=True)
class Ranged:
    """An axis between two numbers."""

    name: str
    first: float
    last: float
    count: int | None
    """Number of values in a grid; None: not given."""
    is_log: bool
    is_whole: bool
    """True if all values are whole numbers, as both ends are."""

    @property
    def values(self) -> tuple[Plain, ...]:
        """The values of a grid, each once.

        Raises ConfigurationError if the study does not say how many.
        """
        if self.count is None:
            raise ConfigurationError(
                f"axes.{self.name}: a grid takes so many values of a range; write count = 5"
            )
        steps = max(1, self.count - 1)
        return tuple(dict.fromkeys(self.at(step / steps) for step in range(self.count)))

    def at(self, share: float) -> Plain:
        """Return the value at a share of the axis, 0 to 1."""
        if share in (0, 1):
            value = self.last if share else self.first
        elif self.is_log:
            low, high = math.log(self.first), math.log(self.last)
            value = math.exp(low + share * (high - low))
        else:
            value = self.first + share * (self.last - self.first)
        return round(value) if self.is_whole else float(value)


Axis = Listed | Ranged


def read_axis(name: str, written: object, parse: Parse) -> Axis:
    """Return an axis as a study writes it.

    Raises ConfigurationError for an axis without values, or with one that its input cannot have.
    """
    where = f"axes.{name}"
    if isinstance(written, dict):
        return _read_range(name, as_table(where, cast("object", written)), parse)
    if not isinstance(written, list):
        return Listed(name, (parse(name, written),))
    values = [parse(name, value) for value in cast("list[object]", written)]
    if not values:
        raise ConfigurationError(f"{where} = []: an axis without values leaves no points; give one")
    return Listed(name, tuple(dict.fromkeys(values)))


def _read_range(name: str, table: Mapping[str, object], parse: Parse) -> Ranged:
    where = f"axes.{name}"
    check_keys(where, table, _KEYS)
    if missing := [key for key in ("from", "to") if key not in table]:
        raise ConfigurationError(f"{where} has no {missing[0]!r}; write {{ from = 1, to = 8 }}")
    ends = [parse(name, table[key]) for key in ("from", "to")]
    numbers = [float(end) for end in ends if not isinstance(end, str | bool)]
    if len(numbers) < len(ends):
        raise ConfigurationError(f"{where}: a range has numbers; list the values of {name} instead")
    scale = table.get("scale", _LINEAR)
    if scale not in (_LINEAR, _LOG):
        raise ConfigurationError(f'{where}: scale = {scale!r}: write "{_LINEAR}" or "{_LOG}"')
    first, last = numbers
    if not first < last or (scale == _LOG and first <= 0):
        raise ConfigurationError(
            f"{where} goes from {first:g} to {last:g}; write the smaller number first"
            f"{', above 0' if scale == _LOG else ''}"
        )
    count = as_whole(f"{where}.count", table["count"]) if "count" in table else None
    if count is not None and count > _MOST_VALUES:
        raise ConfigurationError(f"{where}.count = {count:,}: {_MOST_VALUES:,} values at most")
    is_whole = all(isinstance(end, int) for end in ends)
    return Ranged(name, first, last, count, scale == _LOG, is_whole)
