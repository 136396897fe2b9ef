"""The division of PEs into shares of threads and phases of a window.

The PEs are divided into bricks, laid like a wall, and the bricks are distributed to shares, one for
each thread. The bricks have three colors so that no two of one color touch. All threads visit their
bricks of the first color, then of the second, then of the third, with a barrier in between. A visit
to a PE accesses its block and those of its four neighbours, and no PE borders on two other bricks
of one color. So no two threads access the same word in a phase, no locks are needed, and results do
not depend on the speed of threads:

    ┌───────┬───────┬───────┐
    │   0   │   1   │   2   │
    ├───┬───┴───┬───┴───┬───┤
    │ 1 │   2   │   0   │ 1 │
    ├───┴───┬───┴───┬───┴───┤
    │   0   │   1   │   2   │
    └───────┴───────┴───────┘

A *part* is the PEs of one share and one phase. It has its own heap, and a list for each share that
wakes its PEs, see `agenda`. Other state of a visit (counters, scratch arrays) belongs to the share:
its clock and its own arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from onewafer.settings import available_cores
from onewafer.simulator.fast.kernels.bookkeeping.agenda import NUM_SLOTS
from onewafer.simulator.fast.kernels.bookkeeping.signals import num_signals
from onewafer.simulator.fast.state import fields as f

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.simulator.fast.state.arrays import Arrays
    from onewafer.simulator.protocol.engine import LoadedProgram

    Integers = NDArray[np.int64]

MOST_THREADS = 64
"""Limit of the number of threads: the lists grow with its square."""
USUAL_THREADS = 4
"""Default limit of the number of threads: the gain of more was not measured."""
_LARGE, _SMALL = 16, 8
"""Sides of bricks. Large bricks have fewer PEs next to another thread's."""
_BRICKS_PER_SHARE = 8
"""Fewest bricks of a share: some of each color."""
_MANY_PES = 128
"""PEs of a share that outweigh three barriers, which cost as much as about ten visits."""
_MANY_TO_COUNT = 1 << 14
"""PEs whose counting takes about two milliseconds of one thread's time."""
_ROWS_OF_BAND = 2
"""Fewest rows of a band: counting a band also writes one row beyond it."""
_HELP_AFTER = 1 << 14
"""Work after which threads are called: about two milliseconds of one thread's time."""


@dataclass(frozen=True, slots=True)
class Division:
    """The shares and phases of all PEs."""

    num_shares: int
    num_phases: int
    share: Integers
    """`[height, width]`"""
    phase: Integers
    """`[height, width]`"""

    @property
    def part(self) -> Integers:
        """Number of the part that each PE belongs to, `[height, width]`."""
        return self.phase * self.num_shares + self.share


def choose_division(loaded: LoadedProgram) -> Division:
    """Return the division for as many threads as are allowed and useful."""
    wanted = loaded.threads or min(available_cores(), USUAL_THREADS)
    if loaded.sink is not None:  # recorded events have an order
        wanted = 1
    return choose(loaded.image.width, loaded.image.height, wanted)


def choose(width: int, height: int, num_threads: int) -> Division:
    """Return a division for at most `num_threads` threads, each with enough PEs."""
    num_threads = min(num_threads, MOST_THREADS)
    side, num_shares = _SMALL, 1
    for side in (_LARGE, _SMALL):
        num_bricks = -(-width // side) * -(-height // side)
        num_shares = max(min(num_threads, num_bricks // _BRICKS_PER_SHARE), 1)
        if num_shares == num_threads:
            break
    return divide(width, height, num_shares, brick=(side, side))


def divide(width: int, height: int, num_shares: int, *, brick: tuple[int, int]) -> Division:
    """Return a division into bricks of `brick` PEs (even width and height, both at least 2)."""
    if num_shares == 1:
        nothing = np.zeros((height, width), np.int64)
        return Division(1, 1, nothing, nothing)
    y, x = np.mgrid[:height, :width]
    row = y // brick[1]
    is_odd = row % 2
    column = (x + is_odd * (brick[0] // 2)) // brick[0] + is_odd
    stride = int(column.max()) // f.MAX_PHASES + 1
    while gcd(stride, num_shares) > 1:  # fronts along columns are for all shares, too
        stride += 1
    share = (column // f.MAX_PHASES + row // 2 * stride) % num_shares
    return Division(num_shares, f.MAX_PHASES, share, column % f.MAX_PHASES)


def choose_bands(width: int, height: int, num_threads: int) -> tuple[list[range], list[range]]:
    """Return the bands of rows in which `num_threads` threads count the totals of PEs."""
    has_many = num_threads > 1 and width * height >= _MANY_TO_COUNT
    return divide_rows(width, height, 2 * num_threads if has_many else 1)


def divide_rows(width: int, height: int, num_bands: int) -> tuple[list[range], list[range]]:
    """Return the PEs of at most `num_bands` bands of rows: the even bands, then the odd ones.

    Work on a PE and its neighbours can run on all bands of a list at the same time.
    """
    num_bands = max(min(num_bands, height // _ROWS_OF_BAND), 1)
    ends = [height * i // num_bands * width for i in range(num_bands + 1)]
    bands = [range(first, end) for first, end in pairwise(ends)]
    return bands[::2], bands[1::2]


def share_out(arrays: Arrays, division: Division) -> tuple[Arrays, ...]:
    """Return the arrays of each share; nearly all are shared with the machine's arrays."""
    num_shares, num_phases = division.num_shares, division.num_phases
    part = division.part.reshape(-1)
    s = arrays
    s.arena[s.blocks + f.BLOCK_SLOTS] = (part * num_shares << f.LIST_SHIFT).astype(np.int32)
    sizes = most_in_lists(division)
    wheel = np.empty((NUM_SLOTS, int(sizes.sum()) + 1), np.int32)
    clocks = _aligned((num_shares, -(-len(s.clock) // f.LINE_WORDS) * f.LINE_WORDS))
    clocks[:, : len(s.clock)] = s.clock
    clocks[:, f.NUM_SHARES] = num_shares
    clocks[:, f.NUM_PHASES] = num_phases
    clocks[:, f.MANY_PES] = _MANY_PES
    clocks[:, f.HELP_AFTER] = _HELP_AFTER
    places = np.bincount(part, minlength=num_shares * num_phases) + 1
    places = places.reshape(num_phases, num_shares).T
    ends = places.cumsum(axis=1)
    clocks[:, f.SHARE] = np.arange(num_shares)
    clocks[:, f.HEAP_STARTS : f.HEAP_STARTS + num_phases] = ends - places
    clocks[:, f.HEAP_FIRSTS : f.HEAP_FIRSTS + f.MAX_PHASES] = f.NEVER
    common = s._replace(
        wheel=wheel,
        wheel_counts=_aligned((len(sizes), NUM_SLOTS)),
        lists=_make_lists(division, sizes),
        signals=_aligned((1, num_signals(num_shares)))[0],
    )
    candidates = _aligned((num_shares, -(-len(s.candidates) // f.LINE_WORDS) * f.LINE_WORDS))
    return tuple(
        common._replace(
            clock=clocks[share],
            candidates=candidates[share],
            heap=np.empty(int(ends[share, -1]), np.int32),
        )
        for share in range(num_shares)
    )


def _make_lists(division: Division, sizes: Integers) -> Integers:
    lists = np.empty((len(sizes), f.NUM_LIST_FIELDS), np.int64)
    part = np.arange(len(sizes)) // division.num_shares
    lists[:, f.LIST_START] = np.cumsum(sizes) - sizes
    lists[:, f.LIST_SHARE] = part % division.num_shares
    lists[:, f.LIST_PHASE] = part // division.num_shares
    return lists


def with_arrays(shares: Sequence[Arrays], arrays: Arrays) -> tuple[Arrays, ...]:
    """Return the shares with other arrays of the machine."""
    return tuple(
        arrays._replace(clock=s.clock, candidates=s.candidates, heap=s.heap) for s in shares
    )


def empty_agenda(shares: Sequence[Arrays]) -> None:
    """Remove all PEs from all lists and heaps."""
    s = shares[0]
    s.arena[s.blocks + f.BLOCK_SLOTS] &= -1 << f.LIST_SHIFT
    s.wheel_counts[:] = 0
    s.heap_places[:] = 0
    for other in shares:
        other.clock[f.WRITTEN_SLOTS] = 0
        other.clock[f.HEAP_SIZES : f.HEAP_SIZES + f.MAX_PHASES] = 0
        other.clock[f.HEAP_FIRSTS : f.HEAP_FIRSTS + f.MAX_PHASES] = f.NEVER


def most_in_lists(division: Division) -> Integers:
    """Return how many PEs each list may hold, by part and by the share that writes.

    During its visit, a PE may be in the list of its own share twice. Other shares only write
    neighbours of their PEs.
    """
    num_shares, part = division.num_shares, division.part
    num_parts = num_shares * division.num_phases
    sizes = np.zeros((num_parts, num_shares), np.int64)
    for here, there in _neighbours():
        place = part[here] * num_shares + division.share[there]
        sizes += np.bincount(place.reshape(-1), minlength=sizes.size).reshape(sizes.shape)
    own = np.arange(num_parts)
    sizes[own, own % num_shares] = 2 * np.bincount(part.reshape(-1), minlength=num_parts)
    return sizes.reshape(-1)


def _neighbours() -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Return, for each direction, the PEs with a neighbour, and the neighbours."""
    every, first, last = slice(None), slice(None, -1), slice(1, None)
    return [
        ((every, first), (every, last)),
        ((every, last), (every, first)),
        ((first, every), (last, every)),
        ((last, every), (first, every)),
    ]


def _aligned(shape: tuple[int, int]) -> Integers:
    """Return an array of zeros, aligned to a cache line."""
    words = np.zeros(shape[0] * shape[1] + f.LINE_WORDS, np.int64)
    skipped = -(words.ctypes.data // words.itemsize) % f.LINE_WORDS
    return words[skipped : skipped + shape[0] * shape[1]].reshape(shape)
