"""How long a run may take, and what it says meanwhile: a program that never ends is not silent."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import SimulationError
from onewafer.simulator import StopReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.settings import Settings
    from onewafer.simulator import Machine, Statistics

_SLICE_CYCLES = 100_000
"""How often a run is looked at: a fraction of a second for one busy PE."""
_TERMINAL_NOTICE_CYCLES = 1_000_000
_NOTICE_CYCLES = 10_000_000
_NUM_SHOWN = 3


@dataclass(frozen=True, slots=True)
class RunLimits:
    """What bounds one launch (or start-up) of a device, and who hears that it takes long.

    There is no limit unless the user sets one: an honest program may count for as long as it likes.
    """

    max_cycles: int | None = None
    """A run of more cycles fails."""
    notice: Callable[[str], None] | None = None
    """Told one line when a run takes long: at first after `notice_cycles`, then twice as many."""
    notice_cycles: int = _NOTICE_CYCLES

    @classmethod
    def from_settings(cls, settings: Settings) -> RunLimits:
        """Return the limits of the environment, and notices on stderr, earlier on a terminal."""
        is_terminal = sys.stderr.isatty()
        return cls(
            settings.max_cycles,
            _print_notice,
            _TERMINAL_NOTICE_CYCLES if is_terminal else _NOTICE_CYCLES,
        )


NO_LIMITS = RunLimits()


def run_until_rest(
    machine: Machine,
    what: str,
    limits: RunLimits,
    *,
    progress: Callable[[int], None] | None = None,
    progress_cycles: int = _SLICE_CYCLES,
) -> None:
    """Run a machine until nothing moves any more; `what` completes "the limit is reached in …".

    Raises:
        SimulationError: the program failed, or takes more cycles than the limits allow.
        KeyboardInterrupt: with a sentence that says where the program was.
    """
    start = machine.cycle
    due = limits.notice_cycles
    slice_cycles = progress_cycles if progress else _SLICE_CYCLES
    watch = _Watch(machine)
    try:
        while True:
            passed = machine.cycle - start
            if limits.max_cycles is not None and passed >= limits.max_cycles:
                break
            left = slice_cycles if limits.max_cycles is None else limits.max_cycles - passed
            if machine.run(max_cycles=min(slice_cycles, left)) is StopReason.QUIESCENT:
                return
            if progress is not None:
                progress(machine.cycle)
            if limits.notice is not None and machine.cycle - start >= due:
                limits.notice(
                    f"still in {what} at cycle {machine.cycle:,}: {watch.activity()} "
                    f"(Ctrl-C stops; ONEWAFER_MAX_CYCLES sets a limit)"
                )
                due *= 2
            watch.mark()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted in {what} at cycle {machine.cycle:,}: {watch.activity()}"
        ) from None
    raise SimulationError(
        f"{what} is not over after {limits.max_cycles:,} cycles, the limit that was set "
        f"(ONEWAFER_MAX_CYCLES), at cycle {machine.cycle:,}: {watch.activity()}"
    )


class _Watch:
    """Which PEs work: those whose counters grew since one or two slices ago."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._marked_at = machine.cycle
        self._older: Statistics | None = None
        self._newer: Statistics | None = None

    def mark(self) -> None:
        """Remember the counters, once a slice."""
        if self._machine.cycle - self._marked_at >= _SLICE_CYCLES:
            self._marked_at = self._machine.cycle
            self._older, self._newer = self._newer, self._machine.statistics()

    def activity(self) -> str:
        """Return who works, and where in the source."""
        now, before = self._machine.statistics(), self._older
        work = now.instructions + now.dsd_elements
        hops = now.link_wavelets
        if before is not None:
            work = work - before.instructions - before.dsd_elements
            hops = hops - before.link_wavelets
        rows, columns = np.nonzero(work)
        busy = list(zip(columns.tolist(), rows.tolist(), strict=True))
        if not busy:
            return "wavelets move, but no PE works" if hops.any() else "no PE has begun to work"
        shown = "; ".join(
            f"PE ({x}, {y}) at {self._machine.describe_place(x, y)}" for x, y in busy[:_NUM_SHOWN]
        )
        more = f" and {len(busy) - _NUM_SHOWN} more" if len(busy) > _NUM_SHOWN else ""
        verb = "1 PE works" if len(busy) == 1 else f"{len(busy)} PEs work"
        return f"{verb}: {shown}{more}"


def _print_notice(line: str) -> None:
    sys.stderr.write(f"onewafer: {line}\n")
    sys.stderr.flush()
