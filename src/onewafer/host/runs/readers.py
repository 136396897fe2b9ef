"""Readers of a run: traces, logs, samples, recordings.

All are called at the same moments:

loaded     the machine of the run exists; from now on `sink` gets its events
look       the machine has reached the cycle that the reader chose
paused     between two slices, a few times a second
launched   a launch is complete
failed     an error ended the run
ended      the run is over
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.errors import SimulationError
    from onewafer.host.runs.progress import Clock
    from onewafer.recording import LaunchReport
    from onewafer.simulator import Machine
    from onewafer.trace import EventSink

_NEVER = 1 << 62


class RunReader:
    """Base of readers; this one only keeps the machine."""

    machine: Machine | None = None
    """The machine of the run; None: not loaded yet, or released."""
    clock: Clock
    """The host's clock in seconds; set by `loaded`."""
    sink: EventSink | None = None
    """The sink of the machine's events; None: the reader needs none."""
    next_look: int = _NEVER
    """The cycle of the next `look`, which must set a later one."""
    failure: str | None = None
    """The reason why the reader's file could not be written, also on stderr; None: none."""

    def loaded(self, machine: Machine, clock: Clock) -> None:
        """Take the machine, and the host's clock."""
        self.machine, self.clock = machine, clock

    def look(self, machine: Machine) -> None:
        """Read the machine's state at cycle `next_look`, or soon after it."""

    def paused(self) -> None:
        """Process the events so far: later ones are of later cycles."""

    def launched(self, launch: LaunchReport) -> None:
        """Note a launch that is complete."""

    def failed(self, error: SimulationError) -> None:
        """Note the error that ended the run."""

    def ended(self, *, is_well: bool) -> None:
        """Finish, after success (`is_well`) or not; a second call has no effect."""

    def end_with(self, owner: object) -> None:
        """Finish when an object is finalised, or at the end of the process, unless done before."""
        weakref.finalize(owner, self.ended, is_well=False)
