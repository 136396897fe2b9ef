"""The event queue: the units to visit in each cycle."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Generic, TypeVar

from onewafer.simulator.reference.fabric.units import Unit

UnitType = TypeVar("UnitType", bound=Unit)
RouterType = TypeVar("RouterType", bound=Unit)
ElementType = TypeVar("ElementType", bound=Unit)


class Agenda(Generic[RouterType, ElementType]):
    """Wake-ups by cycle. A unit is woken at its earliest request and schedules the next one."""

    def __init__(self) -> None:
        self._cycles: list[int] = []
        self._units: dict[int, tuple[list[RouterType], list[ElementType]]] = {}
        self.end = 0
        """The end of the last known activity (M80)."""

    def schedule(self, unit: Unit, cycle: int) -> None:
        """Wake `unit` in `cycle`, unless it is woken before."""
        if cycle >= unit.wake:
            return
        unit.wake = cycle
        units = self._units.get(cycle)
        if units is None:
            units = self._units[cycle] = ([], [])
            heappush(self._cycles, cycle)
        if unit.is_router:
            units[0].append(unit)  # pyright: ignore[reportArgumentType]  # `is_router` tells
        else:
            units[1].append(unit)  # pyright: ignore[reportArgumentType]  # `is_router` tells

    def note(self, cycle: int) -> None:
        """Note that the machine is active until `cycle`."""
        self.end = max(self.end, cycle)

    @property
    def next_cycle(self) -> int | None:
        """The first cycle with a unit to visit."""
        return self._cycles[0] if self._cycles else None

    def clear(self, never: int) -> None:
        """Remove all wake-ups."""
        while self._cycles:
            self.take(never)

    def take(self, never: int) -> tuple[list[RouterType], list[ElementType]]:
        """Remove and return the units of `next_cycle`; their wake-ups are removed."""
        cycle = heappop(self._cycles)
        routers, elements = self._units.pop(cycle)
        return _awake(routers, cycle, never), _awake(elements, cycle, never)


def _awake(units: list[UnitType], cycle: int, never: int) -> list[UnitType]:
    awake: list[UnitType] = []
    for unit in units:
        if unit.wake == cycle:
            unit.wake = never
            awake.append(unit)
    return awake
