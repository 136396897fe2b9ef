"""Physical values of nets: nets that meet at a PE get different ones.

In: nets with all their PEs. Out: a value for each. The net whose choices are fewest goes first
(DSATUR: Brélaz, Communications of the ACM 22, 1979) and takes the lowest value that is free: low
ones, because on the WSE-2 colors and local tasks share numbers, and tasks begin at 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.arch import Architecture
    from onewafer.sdk_layout.nets import Net


def allocate_colors(nets: Sequence[Net], architecture: Architecture) -> list[int]:
    """Return the value of each net.

    Raises:
        HostError: values that the program fixed clash, or there are too few colors.
    """
    meeting = [
        {j for j, other in enumerate(nets) if i != j and bool((net.pes & other.pes).any())}
        for i, net in enumerate(nets)
    ]
    allocation = _Allocation(nets, meeting, architecture, {})
    for number, net in enumerate(nets):
        if net.fixed_value is not None:
            allocation.fix(number, net.fixed_value)
    while waiting := [n for n in range(len(nets)) if n not in allocation.values]:
        allocation.choose(
            max(waiting, key=lambda n: (allocation.num_taken(n), len(meeting[n]), -n))
        )
    return [allocation.values[number] for number in range(len(nets))]


@dataclass(frozen=True, slots=True)
class _Allocation:
    nets: Sequence[Net]
    meeting: Sequence[set[int]]
    """For each net, the nets that it shares a PE with."""
    architecture: Architecture
    values: dict[int, int]
    """Net → value, so far."""

    def num_taken(self, number: int) -> int:
        """Count the values that a net cannot have."""
        return len(self._taken(number))

    def fix(self, number: int, value: int) -> None:
        """Give a net the value that the program chose."""
        net = self.nets[number]
        if net.has_switches and value not in self.architecture.switchable_colors:
            raise HostError(
                f"color {net.name} has switch positions and the value {value}, and "
                f"{self.architecture.name} can switch only {self._switchable()}: give it one of "
                "these, or none"
            )
        clash = next((n for n in self._neighbours(number) if self.values[n] == value), None)
        if clash is not None:
            x, y = self._first_shared(number, clash)
            raise HostError(
                f"colors {self.nets[clash].name} and {net.name} both have the value {value} and "
                f"meet at PE ({x}, {y}): give them different values, or none"
            )
        self.values[number] = value

    def choose(self, number: int) -> None:
        """Give a net the lowest value that it can have."""
        net, taken = self.nets[number], self._taken(number)
        possible = (
            self.architecture.switchable_colors
            if net.has_switches
            else range(self.architecture.num_colors)
        )
        value = next((value for value in possible if value not in taken), None)
        if value is None:
            kind = "switchable colors" if net.has_switches else "colors"
            others = ", ".join(self.nets[n].name for n in sorted(self._neighbours(number)))
            raise HostError(
                f"color {net.name} meets so many others that none of the {len(possible)} {kind} of "
                f"{self.architecture.name} is left: {others}; place the regions farther apart, or "
                "use a color for more than one purpose"
            )
        self.values[number] = value

    def _neighbours(self, number: int) -> list[int]:
        return [n for n in self.meeting[number] if n in self.values]

    def _taken(self, number: int) -> set[int]:
        return {self.values[n] for n in self._neighbours(number)}

    def _first_shared(self, first: int, second: int) -> tuple[int, int]:
        y, x = np.argwhere(self.nets[first].pes & self.nets[second].pes)[0]
        return int(x), int(y)

    def _switchable(self) -> str:
        return ", ".join(map(str, self.architecture.switchable_colors))
