"""Readers of a run: all that follow it hear the same events, and each takes what it needs.

loaded     a machine was made for the run; `sink` then takes what happens in it
look       the machine stands at the cycle that the reader asked for
paused     the machine stands between two slices, a few times a second
launched   a launch is over
failed     the run does not go on
ended      nothing follows
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.errors import SimulationError
    from onewafer.host.runs.progress import Clock
    from onewafer.host.runs.simulation_record import LaunchReport
    from onewafer.simulator import Machine
    from onewafer.trace import EventSink

_NEVER = 1 << 62


class RunReader:
    """A reader that takes nothing but the machine."""

    machine: Machine | None = None
    """The machine of the run; None: not yet, or the reader has let it go."""
    clock: Clock
    """The host's seconds, since there is a machine."""
    sink: EventSink | None = None
    """Takes the events of the machine; None: it needs none."""
    next_look: int = _NEVER
    """The cycle at which it wants to look next; after a look, a later one."""
    failure: str | None = None
    """Why a file that the reader should have written is not there; stderr says it, too."""

    def loaded(self, machine: Machine, clock: Clock) -> None:
        """Hear of the machine, and of the host's clock."""
        self.machine, self.clock = machine, clock

    def look(self, machine: Machine) -> None:
        """Look at the machine at `next_look`, or soon after it."""

    def paused(self) -> None:
        """Hear that no event of an earlier cycle follows."""

    def launched(self, launch: LaunchReport) -> None:
        """Hear of a launch that is over."""

    def failed(self, error: SimulationError) -> None:
        """Hear why the run does not go on."""

    def ended(self, *, is_well: bool) -> None:
        """Hear that the run was stopped, or ended in another way; the second time does nothing."""
