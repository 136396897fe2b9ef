"""Runs in slices: bounded, watched, and stopped by Ctrl-C with a checkpoint.

A slice takes a fraction of a second, whatever the machine. How long slices are depends on the
host's clock, and nothing else does: slices change no result (M2).
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter  # noqa: TID251  # decides how long slices are; results do not know
from typing import TYPE_CHECKING

from onewafer.errors import LongRunError
from onewafer.host.runs.interruption import (
    StopRequest,
    interruption,
    late_interruption,
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
"""At most: the reference engine is slow."""
_SLICE_SECONDS = 0.2
_MANY_PES = 10_000
"""From this size on, a checkpoint takes so long that the user must be told about it."""
_LARGEST_CHANGE = 4
"""From one slice to the next, as a factor."""


@dataclass(frozen=True, slots=True)
class RunLimits:
    """The limits of a launch (or start-up) of a device, its observers, and the files of its end.

    There is no limit unless the user sets one: an honest program may count for as long as it likes.
    """

    max_cycles: int | None = None
    """A run of more cycles fails."""
    observer: RunObserver = SILENT
    checkpoint_folder: Path | None = None
    """Where a run that Ctrl-C or SIGTERM stops writes its checkpoint; None: nowhere."""
    max_memory: int | None = None
    """Bytes that the simulation may need; None: what the computer has available."""
    threads: int | None = None
    """Most threads that simulate; None: as many as are useful."""
    clock: Clock = perf_counter
    log: PrintLog | None = None
    """Receives the lines that the program prints; None: they are dropped."""

    @classmethod
    def from_settings(cls, settings: Settings) -> RunLimits:
        """Return the limits of the environment, with progress on stderr."""
        return cls(
            settings.max_cycles,
            choose_observer(settings),
            settings.checkpoint_folder,
            settings.max_memory,
            settings.threads,
        )


NO_LIMITS = RunLimits()


class _Pace:
    """Chooses slices that take about `_SLICE_SECONDS` each."""

    def __init__(self, clock: Clock, num_pes: int) -> None:
        self._clock = clock
        self._began_at = clock()
        self._cycles = max(1, min(_FIRST_SLICE_CYCLES, _FIRST_SLICE_PE_CYCLES // num_pes))

    def slice_cycles(self, left: int | None) -> int:
        """Begin a slice of at most `left` cycles; return how many it has."""
        self._began_at = self._clock()
        return self._cycles if left is None else min(self._cycles, left)

    def end_slice(self, cycles: int) -> None:
        """Learn from how long the slice took, unless it was shorter than wanted."""
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
    """Run a machine until nothing moves any more; `what` completes "the limit is reached in …".

    `observer` watches instead of that of the limits; readers look at cycles that they choose, and
    hear of the end of each slice.

    Raises:
        SimulationError: the program failed.
        LongRunError: it takes more cycles than the limits allow.
        KeyboardInterrupt: a Ctrl-C; its `Interruption` says where the program was, unless it was
            at rest by then.
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
                        raise late_interruption(request)
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
