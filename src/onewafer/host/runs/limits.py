"""Runs in slices: limited in cycles, observed, and stopped by Ctrl-C with a checkpoint.

A slice takes a fraction of a second. Only the length of slices depends on the host's clock, and it
changes no result (M2).
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter  # noqa: TID251  # affects only the length of slices
from typing import TYPE_CHECKING

from onewafer.errors import LongRunError
from onewafer.host.runs.interruption import (
    StopRequest,
    interruption,
    leave_checkpoint,
)
from onewafer.host.runs.progress import SILENT, Reporter, RunObserver
from onewafer.host.runs.progress_display import choose_observer
from onewafer.simulator import StopReason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onewafer.host.runs.print_log import PrintLog
    from onewafer.host.runs.progress import Clock
    from onewafer.host.runs.readers import RunReader
    from onewafer.settings import Settings
    from onewafer.simulator import Machine

_FIRST_SLICE_PE_CYCLES = 1_000_000
"""PE-cycles: a tenth of a second or less if all PEs work.

The rate is that of `scalar-tasks` in docs/explanation/performance.
"""
_FIRST_SLICE_CYCLES = 1_000
"""The most cycles of the first slice: the reference engine is slow."""
_SLICE_SECONDS = 0.2
_MANY_PES = 10_000
"""From this size on, writing a checkpoint takes so long that it is announced."""
_LARGEST_CHANGE = 4
"""The largest ratio of the lengths of two consecutive slices."""


@dataclass(frozen=True, slots=True)
class RunLimits:
    """The limits of a launch (or start-up) of a device, its observer, and its checkpoint folder.

    There is no limit of cycles unless the user sets one: a correct program may run for long.
    """

    max_cycles: int | None = None
    """The most cycles of a launch; None: no limit."""
    observer: RunObserver = SILENT
    checkpoint_folder: Path | None = None
    """The folder for the checkpoint after Ctrl-C or SIGTERM; None: none is written."""
    max_memory: int | None = None
    """The most bytes of the simulation; None: the available memory of the computer."""
    threads: int | None = None
    """The most threads that simulate; None: as many as are useful."""
    clock: Clock = perf_counter
    log: PrintLog | None = None
    """The log of the lines that the program prints; None: they are dropped."""

    @classmethod
    def from_settings(cls, settings: Settings) -> RunLimits:
        """Return the limits of the settings, with progress on stderr."""
        return cls(
            settings.max_cycles,
            choose_observer(settings),
            settings.checkpoint_folder,
            settings.max_memory,
            settings.threads,
        )


NO_LIMITS = RunLimits()


class _Pace:
    """Chooses the length of slices, so that each takes about `_SLICE_SECONDS`."""

    def __init__(self, clock: Clock, num_pes: int) -> None:
        self._clock = clock
        self._began_at = clock()
        self._cycles = max(1, min(_FIRST_SLICE_CYCLES, _FIRST_SLICE_PE_CYCLES // num_pes))

    def slice_cycles(self, left: int | None) -> int:
        """Begin a slice of at most `left` cycles; return its length in cycles."""
        self._began_at = self._clock()
        return self._cycles if left is None else min(self._cycles, left)

    def end_slice(self, cycles: int) -> None:
        """Adapt the length to the time that the slice took, unless the slice was cut short."""
        if cycles < self._cycles:
            return
        seconds = max(self._clock() - self._began_at, 1e-6)
        change = min(max(_SLICE_SECONDS / seconds, 1 / _LARGEST_CHANGE), _LARGEST_CHANGE)
        self._cycles = max(1, int(self._cycles * change))


def run_until_rest(
    machine: Machine,
    what: str,
    limits: RunLimits,
    observer: RunObserver | None = None,
    readers: Sequence[RunReader] = (),
) -> None:
    """Run a machine until nothing moves any more; `what` is the name of the run in messages.

    `observer` replaces that of the limits. Readers are called at the cycles that they choose, and
    at the end of each slice.

    Raises:
        SimulationError: the program failed.
        LongRunError: it takes more cycles than the limits allow.
        KeyboardInterrupt: a Ctrl-C, with an `Interruption` unless the run was complete.
    """
    watcher = limits.observer if observer is None else observer
    reporter = Reporter(machine, what, watcher, limits.clock)
    pace = _Pace(limits.clock, machine.image.width * machine.image.height)
    end = None if limits.max_cycles is None else machine.cycle + limits.max_cycles
    try:
        with StopRequest() as request:
            while (left := None if end is None else end - machine.cycle) != 0:
                cycles = pace.slice_cycles(left)
                for reader in readers:
                    cycles = min(cycles, max(1, reader.next_look - machine.cycle))
                reason = machine.run(max_cycles=cycles)
                for reader in readers:
                    reader.paused()
                if reason is StopReason.QUIESCENT:
                    if request.signal is not None:
                        raise interruption(request)
                    return
                pace.end_slice(cycles)
                request.deliver()
                for reader in readers:
                    if machine.cycle >= reader.next_look:
                        reader.look(machine)
                if request.signal is not None:
                    if len(machine.memory) >= _MANY_PES and limits.checkpoint_folder is not None:
                        watcher.say("writing a checkpoint; a second Ctrl-C ends without it")
                    raise _interrupted(machine, what, limits, reporter, request)
                reporter.look()
    finally:
        watcher.done()
    raise LongRunError(
        f"{what} is not over after {limits.max_cycles:,} cycles, the limit that was set "
        f"(--max-cycles, ONEWAFER_MAX_CYCLES), at cycle {machine.cycle:,}: {reporter.activity()}"
    )


def _interrupted(
    machine: Machine, what: str, limits: RunLimits, reporter: Reporter, request: StopRequest
) -> BaseException:
    place = f"interrupted in {what} at cycle {machine.cycle:,}: {reporter.activity()}"
    return interruption(
        request, f"{place}\n{leave_checkpoint(machine, what, limits.checkpoint_folder)}"
    )
