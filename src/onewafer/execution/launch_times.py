"""Times of the launches of a program, from the few that were simulated.

In: activities of simulated launches. Out: the activity of any launch. A launch shape is the
program, the entry and the numbers of rows and of slots; where rows are those of sequences, cycles
also grow with their positions, which are added up. The first launch of a shape is simulated, and
then one at each doubling of the positions. All others take the closed form times the ratio,
simulated to closed form, that is interpolated between the two simulated ones around it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from onewafer.execution.activity import Activity
from onewafer.mesh import Estimator

if TYPE_CHECKING:
    from onewafer.arch import Architecture
    from onewafer.mesh import Launch, MeshProgram


class Origin(StrEnum):
    """The origin of the cycles of a launch."""

    SIMULATED = "simulated"
    KNOWN = "simulated by an earlier run"
    DERIVED = "derived"
    """Closed form times the ratio of simulated launches of the same shape."""
    CLOSED_FORM = "closed form"
    """No launch of the shape was simulated."""


@dataclass(frozen=True, slots=True)
class _Simulated:
    """A simulated launch of a shape."""

    end: int
    """Sum of the positions of its sequences after the launch."""
    ratio: float
    """Simulated cycles over the closed form."""
    activity: Activity


_Shape = tuple[str, bool, int, int]
"""Entry, whether it is an evaluation, number of rows, number of sequences."""


@dataclass(slots=True)
class LaunchTimes:
    """The times of one program's launches: simulated ones, and estimates of the others."""

    program: MeshProgram
    architecture: Architecture
    _estimator: Estimator = field(init=False)
    _closed_form: dict[Launch, int] = field(default_factory=dict["Launch", int])
    _simulated: dict[_Shape, list[_Simulated]] = field(
        default_factory=dict["_Shape", list[_Simulated]]
    )
    """The simulated launches of each shape, by position."""
    _activities: dict[Launch | None, Activity] = field(
        init=False, default_factory=dict["Launch | None", Activity]
    )
    """Activities derived since the last simulated launch."""

    def __post_init__(self) -> None:
        """Prepare the closed form."""
        self._estimator = Estimator(self.program, self.architecture)

    def closed_form(self, launch: Launch | None) -> int:
        """Return the cycles of a launch in closed form; None: one of all rows."""
        where = launch or self.program.whole_launch()
        if where not in self._closed_form:
            self._closed_form[where] = self._estimator.estimate(launch).cycles
        return self._closed_form[where]

    def is_due(self, launch: Launch | None) -> bool:
        """Tell whether a launch is to be simulated: the first of its shape, or positions doubled.

        A simulated launch that ends at n positions stands for those that end at n to 2n - 1.
        """
        shape, end = self._shape(launch)
        return not any(
            known.end <= end < max(2 * known.end, 1) for known in self._simulated.get(shape, ())
        )

    def add(self, launch: Launch | None, activity: Activity) -> None:
        """Add the activity of a simulated launch."""
        shape, end = self._shape(launch)
        self._activities.clear()
        found = _Simulated(end, activity.cycles / self.closed_form(launch), activity)
        known = [*self._simulated.get(shape, ()), found]
        self._simulated[shape] = sorted(known, key=lambda simulated: simulated.end)

    def has_shape(self, launch: Launch | None) -> bool:
        """Tell whether any launch of the same shape was simulated."""
        return self._shape(launch)[0] in self._simulated

    def expect(self, launch: Launch | None) -> int:
        """Return the cycles of a launch by the best estimate so far."""
        return self.activity(launch).cycles

    def activity(self, launch: Launch | None) -> Activity:
        """Return the activity of a launch; if its shape is unknown, only cycles in closed form."""
        if launch not in self._activities:
            self._activities[launch] = self._derive(launch)
        return self._activities[launch]

    def _derive(self, launch: Launch | None) -> Activity:
        shape, end = self._shape(launch)
        closed_form = self.closed_form(launch)
        if shape not in self._simulated:
            return Activity(cycles=closed_form)
        around = _around(self._simulated[shape], end)
        cycles = closed_form * sum(weight * known.ratio for weight, known in around)
        parts = (
            known.activity.scaled(weight * cycles / known.activity.cycles)
            for weight, known in around
        )
        return sum(parts, start=Activity())

    def ratios(self) -> tuple[float, ...]:
        """Return the ratios of all simulated launches."""
        return tuple(known.ratio for shape in [*self._simulated.values()] for known in shape)

    def _shape(self, launch: Launch | None) -> tuple[_Shape, int]:
        """Return the shape of a launch and the sum of its positions at the end."""
        where = launch or self.program.whole_launch()
        shape = where.entry, where.is_evaluation, where.num_rows, len(where.slots)
        return shape, where.positions


def _around(known: list[_Simulated], end: int) -> tuple[tuple[float, _Simulated], ...]:
    """Return the simulated launches around a position, with weights for interpolation."""
    at = bisect_right(known, end, key=lambda simulated: simulated.end)
    if at in (0, len(known)):
        return ((1.0, known[min(at, len(known) - 1)]),)
    low, high = known[at - 1 : at + 1]
    share = (end - low.end) / (high.end - low.end)
    return (1 - share, low), (share, high)
