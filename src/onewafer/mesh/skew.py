"""The start of each step on each PE, in closed form: sums and maxima over an axis.

PEs differ: some have only padding of a block, few have cached positions so far. PEs with less work
reach the next collective earlier, and their part of the chain overlaps with the work of the others.
With t[x, y] the start of a step on a PE, S the cycles of a stage of the chain, H those of a hop, R
those of the ramp, m the middle, to which chains go:

    local operation    t[x, y] + c[x, y]
    chain along x      max over x of t[x, y] + |x − m|·S, then n wavelets; the middle has the sum
                       (in two phases: t[x, y] + the latency from `chains`)
    broadcast along x  t[m, y] + 2R + 1 + |x − m|·H, then its n wavelets

and likewise along y. If the PEs of each attention head have their own root, |x − m| is the distance
to that. Each chain but the last that a PE adds to its block takes n wavelets more, whether those of
the next chain have arrived or not. All costs depend on one axis alone, except those of attention
between two collectives; so t is the sum of a vector along each axis, and sometimes of an additional
lateness of PEs. After a chain all PEs of a line count as being as late as its middle, since the
next operation is a broadcast, for which they wait. A line that has nothing to send skips the
collective, and all its PEs count as late as the last of them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh.blocks import Axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.arch import Timing
    from onewafer.mesh.chains import Places, Ways
    from onewafer.mesh.operation import Classes, Size
    from onewafer.mesh.program_shape import ProgramShape

    Cycles = NDArray[Any]

_LONG_AGO = np.iinfo(np.int64).min // 2
_ALL = slice(None)


@dataclass(frozen=True, slots=True, eq=False)
class _Apart:
    """Additional lateness of PEs, `[classes, places along the other axis]`."""

    classes: Classes
    cycles: Cycles


@dataclass(frozen=True, slots=True, eq=False)
class Skew:
    """The start of a step on each PE: the sum of x[its place], y[its place] and `apart`."""

    x: Cycles
    y: Cycles
    apart: _Apart | None = None

    @classmethod
    def none(cls, program: ProgramShape) -> Skew:
        """Return the skew at the start of a launch: all PEs begin at 0."""
        return cls(np.zeros(program.width, np.int64), np.zeros(program.height, np.int64))

    @property
    def latest(self) -> int:
        """The cycle at which the last PE begins."""
        if self.apart is None:
            return int(self.x.max() + self.y.max())
        return int((self._last(Axis.X, self.x) + self.y).max())

    @property
    def key(self) -> tuple[bytes, ...]:
        """A key that is equal if and only if two skews are equal."""
        apart = b"" if self.apart is None else self.apart.cycles.tobytes()
        return self.x.tobytes(), self.y.tobytes(), apart

    def earlier(self, cycles: int) -> Skew:
        """Return the same skew, `cycles` earlier."""
        return Skew(self.x - cycles, self.y, self.apart)

    def after_local(self, cycles: Cycles, classes: Classes) -> Skew:
        """Return the skew after an operation with cycles `[classes, places along the other axis]`.

        Either dimension may be 1.
        """
        if cycles.shape[1] == 1:
            return self._later(classes.axis, cycles[classes.labels * (len(cycles) > 1), 0])
        if len(cycles) == 1:
            return self._later(classes.axis.other, cycles[0])
        if self.apart is None:
            return self._apart_by(classes, cycles)
        labels = self.apart.classes.labels
        is_same = labels is classes.labels or np.array_equal(labels, classes.labels)
        assert is_same, "one attention at a time"
        return self._apart_by(classes, self.apart.cycles + cycles)

    def _apart_by(self, classes: Classes, cycles: Cycles) -> Skew:
        return Skew(self.x, self.y, _Apart(classes, cycles))

    def after_chain(self, axis: Axis, words: Size, cycles: Size, again: Size, ways: Ways) -> Skew:
        """Return the skew after the chains along an axis.

        `words`, `cycles` (from the start of the step until a PE has sent all words) and `again`
        (the cycles in which a PE adds another chain that waits) are numbers or
        `[places along the other axis]`.
        """
        late = self._along(axis) + ways.late
        end = functools.reduce(
            np.maximum,
            (self._last(axis, late, places) + again * waits for waits, places in ways.parts),
        )
        ends = end + cycles
        if not (isinstance(words, int) and words > 0):
            idle = self._last(axis, self._along(axis)) + cycles
            ends = np.where(np.asarray(words) > 0, ends, idle)
        level = np.zeros_like(self._along(axis))
        x, y = (level, self.y + ends) if axis is Axis.X else (self.x + ends, level)
        return Skew(x, y)

    def after_broadcast(self, axis: Axis, cycles: Size, timing: Timing, roots: Places) -> Skew:
        """Return the skew after a broadcast along an axis from each PE's root.

        `cycles` are as in `after_chain`.
        """
        assert self.apart is None, "a broadcast follows a chain"
        ready = self._along(axis)
        distance = np.abs(np.arange(len(roots)) - roots)
        travel = distance * timing.hop_cycles + (2 * timing.ramp_cycles + 1)
        travel[distance == 0] = 0
        arrived = self._with(axis, np.maximum(ready, ready[roots] + travel))
        return arrived._later(axis.other, np.asarray(cycles))  # noqa: SLF001

    def _along(self, axis: Axis) -> Cycles:
        return self.x if axis is Axis.X else self.y

    def _with(self, axis: Axis, cycles: Cycles) -> Skew:
        x, y = (cycles, self.y) if axis is Axis.X else (self.x, cycles)
        return Skew(x, y, self.apart)

    def _later(self, axis: Axis, cycles: Cycles) -> Skew:
        return self._with(axis, self._along(axis) + cycles)

    def _last(self, axis: Axis, ready: Cycles, places: slice | Places = _ALL) -> Cycles:
        """Return when the last of some places of each line is ready, given when each place is.

        The lateness of whole lines is not included. The result is a number or
        `[places along the other axis]`.
        """
        ready = ready[places]
        if self.apart is None:
            return ready.max()
        classes, cycles = self.apart.classes, self.apart.cycles
        if classes.axis is not axis:
            return (cycles[:, places] + ready).max(axis=1)[classes.labels]
        of_class = np.full(len(cycles), _LONG_AGO)
        np.maximum.at(of_class, classes.labels[places], ready)
        return (of_class[:, np.newaxis] + cycles).max(axis=0)
