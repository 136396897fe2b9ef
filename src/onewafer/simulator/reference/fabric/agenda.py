"""The units to be looked at in each cycle: time passes from one entry to the next."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Generic, TypeVar

from onewafer.simulator.reference.fabric.units import Unit

UnitType = TypeVar("UnitType", bound=Unit)
RouterType = TypeVar("RouterType", bound=Unit)
ElementType = TypeVar("ElementType", bound=Unit)


class Agenda(Generic[RouterType, ElementType]):
    """Wake-ups by cycle. A unit is woken at its earliest request and has to ask again."""

    def __init__(self) -> None:
        self._cycles: list[int] = []
        self._units: dict[int, tuple[list[RouterType], list[ElementType]]] = {}
        self.end = 0
        """The cycle in which the last thing noted so far is over (M80)."""

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
        """Remember that something goes on until `cycle`."""
        self.end = max(self.end, cycle)

    @property
    def next_cycle(self) -> int | None:
        """The first cycle in which a unit has to be looked at."""
        return self._cycles[0] if self._cycles else None

    def clear(self, never: int) -> None:
        """Put every unit to sleep."""
        while self._cycles:
            self.take(never)

    def take(self, never: int) -> tuple[list[RouterType], list[ElementType]]:
        """Remove and return the units of `next_cycle`; each is asleep until it asks again."""
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
