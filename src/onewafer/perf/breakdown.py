"""Where the time of a piece of work goes: items that add up to the whole.

An item counts only time that no longer item hides, so the sum of the items is exactly the total.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


_Key = TypeVar("_Key")


class Limit(StrEnum):
    """The resource that a piece of work waits for: more of it would make the work faster."""

    COMPUTE = "compute"
    """Arithmetic units."""
    SRAM_BANDWIDTH = "SRAM bandwidth"
    FABRIC_LATENCY = "fabric latency"
    """Hops, ramps and the start of operations on the wafer, whatever the number of wavelets."""
    FABRIC_BANDWIDTH = "fabric bandwidth"
    OFF_WAFER = "off-wafer link"
    """The edge of the wafer and the network between wafers, hosts and weight servers."""
    HBM = "HBM bandwidth"
    NVLINK = "NVLink"
    """Links between the GPUs of one domain, latency and bandwidth."""
    NETWORK = "network"
    """Links between nodes, latency and bandwidth."""
    LAUNCH = "launch overhead"
    """Kernel launches, the serving engine's own work, whatever the size of the work."""
    BUBBLE = "pipeline bubble"
    """Stages that wait for others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Time of one kind of work, all repetitions together."""

    name: str
    """The name of the work, such as `MLP` or `all-reduce`; items may share a name."""
    seconds: float
    limit: Limit
    is_cross_checked: bool = True
    """True if a simulation or a measurement stands behind the formula."""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The items of a piece of work, in the order in which they are done."""

    items: tuple[Item, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an item whose time is negative or not finite."""
        for item in self.items:
            if not (math.isfinite(item.seconds) and item.seconds >= 0):
                raise ValueError(f"item {item.name!r} takes {item.seconds} seconds")

    @property
    def seconds(self) -> float:
        """The sum of the items."""
        return math.fsum(item.seconds for item in self.items)

    @property
    def limit(self) -> Limit | None:
        """The resource waited for longest; None if the breakdown takes no time."""
        return self.largest(lambda item: item.limit, 1)[0][0] if self.seconds > 0 else None

    @property
    def cross_checked_fraction(self) -> float:
        """The share of the time, 0 to 1, whose formulas have been compared with something."""
        total = self.seconds
        checked = math.fsum(item.seconds for item in self.items if item.is_cross_checked)
        return checked / total if total > 0 else 1.0

    def by(self, key: Callable[[Item], _Key]) -> dict[_Key, float]:
        """Return the seconds of the items that share a key, in the order of appearance."""
        groups: dict[_Key, list[float]] = {}
        for item in self.items:
            groups.setdefault(key(item), []).append(item.seconds)
        return {name: math.fsum(seconds) for name, seconds in groups.items()}

    def largest(self, key: Callable[[Item], _Key], count: int) -> list[tuple[_Key, float]]:
        """Return the largest groups of items, with their share of the time, 0 to 1."""
        seconds, whole = self.by(key), self.seconds
        ranked = sorted(seconds, key=lambda name: seconds[name], reverse=True)
        return [(name, seconds[name] / whole if whole else 0.0) for name in ranked[:count]]

    def merged(self) -> Breakdown:
        """Merge items that differ only in their time; drop items that take none."""
        groups = self.by(lambda item: replace(item, seconds=0.0))
        return Breakdown(
            tuple(replace(item, seconds=time) for item, time in groups.items() if time)
        )

    def scaled(self, factor: float) -> Breakdown:
        """Return the breakdown of `factor` times the work."""
        return Breakdown(tuple(replace(i, seconds=i.seconds * factor) for i in self.items))

    def __add__(self, other: Breakdown) -> Breakdown:
        """Return the breakdown of one piece of work after the other."""
        return Breakdown((*self.items, *other.items))


def total(breakdowns: Iterable[Breakdown]) -> Breakdown:
    """Return the breakdown of pieces of work that are done one after the other."""
    return Breakdown(tuple(item for part in breakdowns for item in part.items))
