"""Cycles of the messages between groups of PEs that have blocks of feature maps.

No kernel does this today, so nothing of it has been compared with a simulation. A PE exchanges with
the corresponding PE of the next group: a wavelet travels the width of a group, and a link between
groups carries the wavelets of as many PEs:

    exchange along an axis   s + k · (instructions of an issue + F) + hops · H + 2R + 1 + stream
                             stream = the longer of: m · group · n_m · p over the blocks m that
                             places come from, for the busier direction; all words that a PE sends
                             and receives, at the data path
    gathering along an axis  chain to the middle and broadcast from it, as in the mesh program, with
                             hops and wavelets of a whole group in the place of those of a PE

with s the start of a task, F the set-up of a fabric operation, k its fabric operations, H a hop, R
a ramp, p the cycles of a wavelet, n_m wavelets. Rows received along x are sent on along y, so that
corners arrive. A wavelet has two f16. First, the PE's own block is copied line by line into the
buffer with the halo.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, assert_never

from onewafer.mesh import Waits
from onewafer.perf.wafer.feature_map_blocks import Exchange, Gathering

if TYPE_CHECKING:
    from onewafer.arch import Timing
    from onewafer.perf.wafer.feature_map_blocks import Grid, Halo, Message

_WAVELET_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """A grid of equal rectangles of PEs, each with a block of every feature map."""

    grid: Grid
    width: int
    """Width of a group, in PEs."""
    height: int
    element_bytes: int
    timing: Timing
    issue_cycles: int
    """Cycles from the start of a step to the issue of a fabric operation."""

    def waits(self, message: Message, columns: int) -> Waits:
        """Return the cycles of a message where a PE has `columns` features."""
        match message:
            case Exchange():
                return self._exchange(message, columns)
            case Gathering():
                return self._gathering(columns)
            case _:
                assert_never(message)

    def _exchange(self, message: Exchange, columns: int) -> Waits:
        y, x = message.y, message.x
        copied = self._copy(y.own, x.own * columns)
        along_x = self._shift(x, self.width, y.own * columns)
        along_y = self._shift(y, self.height, x.needed * columns)
        return _sum(copied, along_x, along_y)

    def _copy(self, lines: int, elements: int) -> Waits:
        timing = self.timing
        rate = timing.elements_per_cycle["mov16" if self.element_bytes == 2 else "mov32"]  # noqa: PLR2004
        return Waits(
            instructions=lines * (timing.memory_setup_cycles + timing.resume_cycles),
            memory=lines * math.ceil(elements / rate),
        )

    def _shift(self, halo: Halo, group: int, elements: int) -> Waits:
        """Return the cycles of an exchange along one axis; a pixel has `elements`."""
        directions = [halo.from_each(count) for count in (halo.before, halo.after) if count]
        if not directions:
            return Waits()
        timing = self.timing
        words = [[self._words(count * elements) for count in blocks] for blocks in directions]
        link = max(
            sum(away * group * count for away, count in enumerate(of_one, 1)) for of_one in words
        )
        moved = 2 * sum(map(sum, words))
        stream = max(link * _link(timing), moved / timing.elements_per_cycle["mov32"])
        hops = group * max(map(len, directions))
        operations = 2 * sum(map(len, directions))
        return Waits(
            instructions=operations * self.issue_cycles,
            travel=operations * timing.fabric_setup_cycles + self._travel(hops),
            wavelets=math.ceil(stream),
        )

    def _gathering(self, columns: int) -> Waits:
        across, down = self.grid
        return _sum(
            self._all_reduce(across, self.width, columns),
            self._all_reduce(down, self.height, columns),
        )

    def _all_reduce(self, groups: int, group: int, words: int) -> Waits:
        """Return the cycles of a chain to an axis' middle group and a broadcast; f32 words."""
        if groups == 1:
            return Waits()
        timing, distance = self.timing, groups // 2
        adding = 1 / timing.elements_per_cycle["fadds"]
        stream = words * max(math.ceil(adding), group * _link(timing))
        stop = 2 * timing.ramp_cycles + 1
        hops = 2 * distance * group * timing.hop_cycles
        return Waits(
            instructions=2 * self.issue_cycles,
            travel=2 * timing.fabric_setup_cycles + hops + (distance + 1) * stop,
            wavelets=2 * math.ceil(stream),
        )

    def _travel(self, hops: int) -> int:
        timing = self.timing
        return hops * timing.hop_cycles + 2 * timing.ramp_cycles + 1

    def _words(self, elements: int) -> int:
        return -(-elements * self.element_bytes // _WAVELET_BYTES)


def _link(timing: Timing) -> Fraction:
    """Return the cycles of a wavelet on a link."""
    return Fraction(timing.link_window_cycles, timing.link_window_words)


def _sum(*waits: Waits) -> Waits:
    return Waits(*map(sum, zip(*map(astuple, waits), strict=True)))
