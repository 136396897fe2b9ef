"""How chains go along an axis: to its middle, or to the PEs of heads that are next to it.

On a long axis they go in two phases: within sections to their leaders, and then from leader to
leader, past the PEs between them. One chain over D links stops at each PE, for 2R + H + 1 cycles
(R the ramp, H the hop). With sections of s PEs words stop at s − 1 of them in the first phase and
at D / s leaders in the second: the two-phase reduction of NOWR (HPDC'24). `kernels/routes.csl` says
the same to the fabric.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from onewafer.arch import Timing

    Array = NDArray[Any]
    Flags = NDArray[np.bool_]
    Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Chains:
    """The chains along one axis of a program."""

    size: int
    """PEs along it."""
    middle: int
    """The PE to which chains of the axis go."""
    section: int = 0
    """The most PEs of a section, its leader included, at least 2; 0: chains have one phase."""
    head_pes: int = 0
    """PEs that have features of one head of attention, from PE 0 on; 0: heads do not matter."""
    num_heads: int = 0

    def roots(self, *, of_heads: bool) -> Places:
        """Return for each PE the one that its chain goes to: the middle, or the root of its head.

        That is, of the PEs that have the head, the one next to the middle. A PE without a head is
        its own.

        >>> Chains(8, 4, head_pes=3, num_heads=2).roots(of_heads=True).tolist()
        [2, 2, 2, 4, 4, 4, 6, 7]
        """
        places = np.arange(self.size)
        if not of_heads:
            return np.full_like(places, self.middle)
        has_head = places < self.head_pes * self.num_heads
        return np.where(has_head, self.next_to_middle(), places)

    def leaders(self) -> Flags:
        """Return which PEs chains of the first phase go to, besides the middle.

        A leader follows `section` PEs after the one before it, from the middle outwards. The first
        PE of a head is one, too: sections end where heads do.

        >>> np.flatnonzero(Chains(10, 4, section=2).leaders()).tolist()
        [0, 2, 6, 8]
        >>> np.flatnonzero(Chains(10, 4, section=2, head_pes=5, num_heads=2).leaders()).tolist()
        [0, 2, 5, 7, 9]
        """
        return _leaders(self)

    def ways(self, timing: Timing, *, of_heads: bool) -> Ways:
        """Return how long it is from each PE to the end of its chain: of its head, or the axis."""
        return _ways(self, timing.ramp_cycles, timing.hop_cycles, of_heads=of_heads)

    def next_to_middle(self) -> Places:
        """Return for each PE, of all that have its head, the one next to the middle."""
        if not self.head_pes:
            return np.full(self.size, self.middle)
        first = np.arange(self.size) // self.head_pes * self.head_pes
        return np.clip(self.middle, first, first + self.head_pes - 1)


@lru_cache(maxsize=256)
def _leaders(chains: Chains) -> Flags:
    places = np.arange(chains.size)
    if chains.section == 0:
        return _constant(np.zeros(chains.size, np.bool_))
    distances = np.abs(places - chains.next_to_middle())
    return _constant((distances % chains.section == 0) & (places != chains.middle))


def _constant(values: Array) -> Array:
    values.flags.writeable = False
    return values


def reduce_along(
    values: Array, root: int, leaders: Flags, combine: Callable[[Array, Array], Array]
) -> None:
    """Combine what the PEs of an axis have, in the order of the kernels, into one of them.

    `values` are `[across, along, …]`. A PE combines its own with what comes from further out. A
    leader that gets two chains keeps its own with the first. The root takes the last chain of each
    side last, and of both sides that from before it first.
    """
    last = values.shape[1] - 1
    places = range(root), range(last, root, -1)
    sides = [_reduce_side(values, side, leaders, combine) for side in places]
    firsts = [side[0] for side in sides if len(side) > 1]
    for chain in (*firsts, *(side[-1] for side in sides if side)):
        values[:, root] = combine(values[:, root], chain)


def _reduce_side(
    values: Array, places: Sequence[int], leaders: Flags, combine: Callable[[Array, Array], Array]
) -> list[Array]:
    """Return what comes to the root in each phase from PEs of one side, the outermost first."""
    first: Array | None = None
    second: Array | None = None
    for place in places:
        own = values[:, place].copy()
        if not leaders[place]:
            first = own if first is None else combine(own, first)
            continue
        if first is not None and second is not None:
            own = values[:, place] = combine(own, first)
        elif first is not None:
            second = first
        second = own if second is None else combine(own, second)
        first = None
    return [chain for chain in (first, second) if chain is not None]


@dataclass(frozen=True, slots=True, eq=False)
class Ways:
    """How long it is from the PEs of an axis to the end of their chains."""

    late: Array
    """Cycles that the first word takes from each PE to its root."""
    parts: tuple[tuple[int, Places], ...]
    """PEs whose words wait equally often while a PE adds a whole block to its own: how often, and
    which PEs these are."""


@lru_cache(maxsize=256)
def _ways(chains: Chains, ramp_cycles: int, hop_cycles: int, *, of_heads: bool) -> Ways:
    leaders, roots = chains.leaders(), chains.roots(of_heads=of_heads)
    late, waits = np.zeros(chains.size, np.int64), np.zeros(chains.size, np.int64)
    for root in np.unique(roots).tolist():
        members = np.flatnonzero(roots == root).tolist()
        sides = [range(root - 1, members[0] - 1, -1), range(root + 1, members[-1] + 1)]
        paths = [list(_path(side, root, leaders)) for side in sides]
        order = _arrivals(paths)
        waits[root] = max(len(order) - 1, 0)
        for side, path in enumerate(paths):
            for step in path:
                stops = step.stops * (2 * ramp_cycles + 1)
                late[step.place] = stops + hop_cycles * abs(step.place - root)
                waits[step.place] = step.waits + len(order) - 1 - order.index((side, step.phase))
    parts = [(wait, np.flatnonzero(waits == wait)) for wait in np.unique(waits).tolist()]
    return Ways(_constant(late), tuple(parts))


def _arrivals(paths: Sequence[Sequence[_Step]]) -> list[tuple[int, int]]:
    """Return the side and the phase of each chain that comes to a root, as it adds them.

    The last chain of each side comes last, as `reduce_along` says.
    """
    found: set[tuple[bool, int, int]] = set()
    for side, path in enumerate(paths):
        last = max((step.phase for step in path), default=0)
        found |= {(step.phase == last, side, step.phase) for step in path}
    return [(side, phase) for _, side, phase in sorted(found)]


@dataclass(frozen=True, slots=True)
class _Step:
    """From a PE to the root of its chain."""

    place: int
    stops: int
    """PEs that words stop at, the root included, their own not."""
    phase: int
    """In which they come to the root: 0 or 1."""
    waits: int
    """1 if they wait at their leader, which adds a second chain after theirs, else 0."""


def _path(side: Sequence[int], root: int, leaders: Flags) -> Iterator[_Step]:
    """Yield the PEs of one side of a root, which begins next to it."""
    outermost = max((index for index, place in enumerate(side) if leaders[place]), default=-1)
    stops_of_leader, leader = 0, root
    adds_two, phase = False, 0
    for index, place in enumerate(side):
        if leaders[place]:
            stops_of_leader, leader, phase = stops_of_leader + 1, place, 1
            has_section = index + 1 < len(side) and not leaders[side[index + 1]]
            adds_two = has_section and index < outermost
        stops = stops_of_leader + abs(place - leader)
        yield _Step(place, stops, phase, int(adds_two))
