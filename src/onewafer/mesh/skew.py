"""When each PE begins a step of the state machine, in closed form: sums and maxima over an axis.

PEs differ: some have only padding of a block, few keep the positions of a KV cache so far. Those
with less to do are ahead at the next collective, and what they add to the chain is hidden behind
the work of the others. With t[x, y] the start of a step on a PE, S the cycles of a stage of the
chain, H those of a hop, R those of the ramp:

    local operation    t[x, y] + c[x, y]
    chain along x      max over x of t[x, y] + x·S, then its n wavelets; PE 0 has the result
    broadcast along x  t[0, y] + 2R + 1 + x·H, then its n wavelets

and likewise along y. All costs depend on one axis alone, except those of attention between two
collectives; so t is a vector along each axis, and at times what PEs have in addition. After a chain
all PEs of a line count as being as late as PE 0: the next operation is a broadcast, for which they
wait. What has nothing to send skips a collective, and counts as late as its last PE.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh.program import Axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.arch import Timing
    from onewafer.mesh.operations.operation import Classes, Size
    from onewafer.mesh.program import MeshProgram

    Cycles = NDArray[Any]

_LONG_AGO = np.iinfo(np.int64).min // 2


@dataclass(frozen=True, slots=True, eq=False)
class _Apart:
    """What PEs are late in addition, `[classes, places along the other axis]`."""

    classes: Classes
    cycles: Cycles


@dataclass(frozen=True, slots=True, eq=False)
class Skew:
    """The cycle at which each PE begins a step: x[its place] + y[its place] + what is apart."""

    x: Cycles
    y: Cycles
    apart: _Apart | None = None

    @classmethod
    def none(cls, program: MeshProgram) -> Skew:
        """Return the skew at the start of a launch: all PEs begin at 0."""
        return cls(np.zeros(program.width, np.int64), np.zeros(program.height, np.int64))

    @property
    def latest(self) -> int:
        """The cycle at which the last PE begins."""
        return int(np.max(self._lines(Axis.X, 0) + self.y))

    @property
    def key(self) -> tuple[bytes, ...]:
        """What is equal for two skews if and only if they are."""
        apart = b"" if self.apart is None else self.apart.cycles.tobytes()
        return self.x.tobytes(), self.y.tobytes(), apart

    def earlier(self, cycles: int) -> Skew:
        """Return the same, so many cycles earlier."""
        return replace(self, x=self.x - cycles)

    def after_local(self, cycles: Cycles, classes: Classes) -> Skew:
        """Return the skew after an operation, of cycles `[classes, places along the other axis]`.

        Either dimension may be 1.
        """
        if cycles.shape[1] == 1:
            return self._later(classes.axis, cycles[classes.labels * (len(cycles) > 1), 0])
        if len(cycles) == 1:
            return self._later(classes.axis.other, cycles[0])
        if self.apart is None:
            return replace(self, apart=_Apart(classes, cycles))
        assert np.array_equal(self.apart.classes.labels, classes.labels), "one attention at a time"
        return replace(self, apart=_Apart(classes, self.apart.cycles + cycles))

    def after_chain(self, axis: Axis, words: Size, cycles: Size, timing: Timing) -> Skew:
        """Return the skew after a chain along an axis towards PE 0.

        `words` and `cycles`, from the start of the step until a PE has sent all of them, are
        numbers or `[places along the other axis]`.
        """
        stage = 2 * timing.ramp_cycles + timing.hop_cycles + 1
        late = np.where(np.asarray(words) > 0, self._lines(axis, stage), self._lines(axis, 0))
        level = replace(self._with(axis, np.zeros_like(self._along(axis))), apart=None)
        return level._later(axis.other, late + cycles)  # noqa: SLF001

    def after_broadcast(self, axis: Axis, cycles: Size, timing: Timing) -> Skew:
        """Return the skew after a broadcast along an axis; `cycles` as for a chain."""
        assert self.apart is None, "a broadcast follows a chain"
        ready = self._along(axis)
        places = np.arange(len(ready))
        travel = np.where(places, 2 * timing.ramp_cycles + 1 + places * timing.hop_cycles, 0)
        arrived = self._with(axis, np.maximum(ready, ready[0] + travel))
        return arrived._later(axis.other, np.asarray(cycles))  # noqa: SLF001

    def _along(self, axis: Axis) -> Cycles:
        return self.x if axis is Axis.X else self.y

    def _with(self, axis: Axis, cycles: Cycles) -> Skew:
        return replace(self, x=cycles) if axis is Axis.X else replace(self, y=cycles)

    def _later(self, axis: Axis, cycles: Cycles) -> Skew:
        return self._with(axis, self._along(axis) + cycles)

    def _lines(self, axis: Axis, stage: int) -> Cycles:
        """Return the latest of a line's places, so many cycles later from place to place.

        Without what the whole line is late; a number or `[places along the other axis]`.
        """
        ready = self._along(axis) + stage * np.arange(len(self._along(axis)))
        if self.apart is None:
            return ready.max()
        classes, cycles = self.apart.classes, self.apart.cycles
        if classes.axis is not axis:
            return (cycles + ready).max(axis=1)[classes.labels]
        of_class = np.full(len(cycles), _LONG_AGO)
        np.maximum.at(of_class, classes.labels, ready)
        return (of_class[:, np.newaxis] + cycles).max(axis=0)
