"""The chains of reductions along an axis: to its middle, or to the root PE of each head.

On a long axis they go in two phases: within sections to their leaders, and then from leader to
leader, past the PEs between them. One chain over D links stops at each PE, for 2R + H + 1 cycles
(R the ramp, H the hop). With sections of s PEs words stop at s − 1 of them in the first phase and
at D / s leaders in the second: the two-phase reduction of NOWR (HPDC'24).
`collectives/routes.csl` says the same to the fabric.
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
    """The PE at which the chains of the axis end."""
    section: int = 0
    """The most PEs of a section, its leader included, at least 2; 0: chains have one phase."""
    head_pes: int = 0
    """PEs that share the features of one attention head, from PE 0 on; 0: heads do not matter."""
    num_heads: int = 0

    def roots(self, *, of_heads: bool) -> Places:
        """Return the root of each PE's chain: the middle of the axis, or the root of its head.

        The root of a head is the PE of the head next to the middle. A PE without a head is its own
        root.
        >>> Chains(8, 4, head_pes=3, num_heads=2).roots(of_heads=True).tolist()
        [2, 2, 2, 4, 4, 4, 6, 7]
        """
        places = np.arange(self.size)
        if not of_heads:
            return np.full_like(places, self.middle)
        has_head = places < self.head_pes * self.num_heads
        return np.where(has_head, self.next_to_middle(), places)

    def leaders(self) -> Flags:
        """Return the PEs, besides the middle, where chains of the first phase end.

        A leader follows `section` PEs after the one before it, from the middle outwards. The first
        PE of a head is one, too: sections end where heads do.

        >>> np.flatnonzero(Chains(10, 4, section=2).leaders()).tolist()
        [0, 2, 6, 8]
        >>> np.flatnonzero(Chains(10, 4, section=2, head_pes=5, num_heads=2).leaders()).tolist()
        [0, 2, 5, 7, 9]
        """
        return _leaders(self)

    def ways(self, timing: Timing, *, of_heads: bool) -> Ways:
        """Return the latencies from each PE to its chain's root, of its head or of the axis."""
        return _ways(self, timing.ramp_cycles, timing.hop_cycles, of_heads=of_heads)

    def heads(self) -> Iterator[tuple[slice, int]]:
        """Yield the slice of PEs of each head, and the index of its root.

        >>> list(Chains(8, 4, head_pes=3, num_heads=2).heads())
        [(slice(0, 3, None), 2), (slice(3, 6, None), 4)]
        """
        roots = self.next_to_middle()
        for first in range(0, self.head_pes * self.num_heads, self.head_pes):
            yield slice(first, first + self.head_pes), int(roots[first])

    def next_to_middle(self) -> Places:
        """Return for each PE the PE of its head that is next to the middle."""
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
    """Combine the values of all PEs of an axis into one PE, in the order of the kernels.

    `values` are `[across, along, …]`. A PE combines its own value with the one from further out. A
    leader that receives two chains adds its own value to the first. The root takes the last chain
    of each side last, and first the one of the lower positions.
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
    """Return the words that reach the root from one side in each phase, outermost PE first."""
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
    """The latencies from the PEs of an axis to the roots of their chains."""

    late: Array
    """Cycles of the first word from each PE to its root."""
    parts: tuple[tuple[int, Places], ...]
    """The PEs grouped by how often their words wait while a PE adds a whole block: the number of
    waits, and the indices of these PEs."""


@lru_cache(maxsize=1024)
def _ways(chains: Chains, ramp_cycles: int, hop_cycles: int, *, of_heads: bool) -> Ways:
    places, roots = np.arange(chains.size), chains.roots(of_heads=of_heads)
    sides = _Side.west(chains.leaders(), roots), _Side.east(chains.leaders(), roots)
    stops = np.where(places < roots, sides[0].stops(places), sides[1].stops(places))
    late = stops * (2 * ramp_cycles + 1) + hop_cycles * np.abs(places - roots)
    waits = _waits(places, roots, sides)
    parts = [(wait, np.flatnonzero(waits == wait)) for wait in np.unique(waits).tolist()]
    return Ways(_constant(late), tuple(parts))


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """The chains of one side, for every PE as if it were on this side of its root."""

    num_leaders: Places
    """The number of leaders from the root (exclusive) to each PE (inclusive)."""
    leader: Places
    """The leader at which each PE's section ends; the root, if no leader is before it."""
    adds_two: Flags
    """True if that leader adds a second chain after the one of its section."""
    has_pes: Flags
    """True if there are PEs on this side of the root of each PE."""
    has_leaders: Flags
    begins_with_section: Flags
    """True if the PE next to the root is no leader although the axis has leaders."""

    @classmethod
    def east(cls, leaders: Flags, roots: Places) -> _Side:
        """Return the side of the higher places."""
        places = np.arange(len(roots))
        upto = np.cumsum(leaders)
        last = np.searchsorted(roots, roots, side="right") - 1
        following = np.minimum(places + 1, last)
        has_section = (following > places) & ~leaders[following]
        is_leader = leaders & (places > roots)
        is_outermost = upto[last] == upto
        nearest = np.maximum.accumulate(np.where(leaders, places, 0))
        leader = np.maximum(nearest, roots)
        has_leaders = upto[last] > upto[roots]
        next_to_root = np.minimum(roots + 1, last)
        return cls(
            num_leaders=upto - upto[roots],
            leader=leader,
            adds_two=(is_leader & has_section & ~is_outermost)[leader],
            has_pes=last > roots,
            has_leaders=has_leaders,
            begins_with_section=has_leaders & ~leaders[next_to_root],
        )

    @classmethod
    def west(cls, leaders: Flags, roots: Places) -> _Side:
        """Return the side of the lower places, computed as the mirror image of `east`."""
        last = len(roots) - 1
        mirrored = cls.east(leaders[::-1], last - roots[::-1])
        return cls(
            num_leaders=mirrored.num_leaders[::-1],
            leader=last - mirrored.leader[::-1],
            adds_two=mirrored.adds_two[::-1],
            has_pes=mirrored.has_pes[::-1],
            has_leaders=mirrored.has_leaders[::-1],
            begins_with_section=mirrored.begins_with_section[::-1],
        )

    @property
    def is_of_first_phase(self) -> Flags:
        """True for PEs whose words reach the root before those of the leaders."""
        return self.has_leaders & (self.num_leaders == 0)

    def stops(self, places: Places) -> Places:
        """Return how many PEs add each PE's words to their own, the root included."""
        return self.num_leaders + np.abs(places - self.leader)


def _waits(places: Places, roots: Places, sides: tuple[_Side, _Side]) -> Places:
    """Return how often each PE's words wait while another PE adds a whole block.

    At the root they wait for all chains that it adds after theirs: those of its own sections come
    first, the last one of each side last, as `reduce_along` says.
    """
    west, east = sides
    num_first = west.begins_with_section * 1 + east.begins_with_section
    num_chains = num_first + west.has_pes + east.has_pes
    is_west = places < roots
    is_first: Flags = np.where(is_west, west.is_of_first_phase, east.is_of_first_phase)
    of_first = np.where(is_west, 0, west.begins_with_section)
    of_last = num_first + np.where(is_west, 0, west.has_pes)
    order = np.where(is_first, of_first, of_last)
    at_root = num_chains - 1 - order
    at_leader = np.where(is_west, west.adds_two, east.adds_two)
    return np.where(places == roots, np.maximum(num_chains - 1, 0), at_root + at_leader)
