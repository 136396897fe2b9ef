"""The review of a run: warnings at its end about behaviour that is rarely intended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import SimulationError
from onewafer.host.runs.readers import RunReader
from onewafer.image import DsdOperation, Field
from onewafer.simulator import BUSY_ADVICE, Checking, StallReason, place

if TYPE_CHECKING:
    from onewafer.host.runs.progress import RunObserver
    from onewafer.settings import Settings
    from onewafer.simulator import BusyIssue, Machine

HOW_STRICT = "  (--strict, ONEWAFER_STRICT=on: an error)"
_NUM_SHOWN = 5


def checking_of(settings: Settings) -> Checking:
    """Return the checks of a run with these settings."""
    return Checking(
        is_strict=settings.is_strict,
        bounds="bounds" in settings.checks,
        uninitialised="uninitialised" in settings.checks,
    )


class RunReview(RunReader):
    """Warns the observer of a run, of each finding once: a script may go on after an error.

    Without a host, wavelets sent to the host are not reported.
    """

    def __init__(
        self, observer: RunObserver, checking: Checking, *, is_wanted: bool, has_host: bool
    ) -> None:
        self._observer = observer
        self._checking = checking
        self._is_wanted = is_wanted
        self._has_host = has_host
        self._has_warned = False
        """True if operations on a busy microthread were reported."""

    def failed(self, error: SimulationError) -> None:
        del error
        if self.machine is not None:
            self._warn(self.machine)

    def _warn(self, machine: Machine, leftovers: str | None = None) -> None:
        if not self._is_wanted:
            return
        busy = None if self._has_warned else describe_busy_issues(machine)
        self._has_warned = True
        for text in filter(None, (busy, leftovers)):
            self._observer.say(f"warning: {text}\n{HOW_STRICT}")

    def ended(self, *, is_well: bool) -> None:
        """Review the run once, at a good end.

        Raises:
            SimulationError: wavelets were left over, and that is an error (`Checking.is_strict`).
        """
        machine = self.machine
        if not is_well or machine is None:
            return
        leftovers = None
        if self._is_wanted or self._checking.is_strict:
            leftovers = describe_leftovers(machine, has_host=self._has_host)
        if leftovers is not None and self._checking.is_strict:
            raise SimulationError(leftovers)
        self._warn(machine, leftovers)
        self._is_wanted = False


def describe_busy_issues(machine: Machine) -> str | None:
    """Return a text about operations issued on a busy microthread (M38); None: there are none."""
    places = _busy_places(machine)
    if not places:
        return None
    cycles = int(machine.statistics().stall_cycles[StallReason.MICROTHREAD_BUSY].sum())
    lines = [
        f"{where}, {'once' if num_times == 1 else f'{num_times:,} times'}, first of all PEs on {pe}"
        for where, num_times, pe in places[:_NUM_SHOWN]
    ]
    if len(places) > _NUM_SHOWN:
        lines.append(f"and {len(places) - _NUM_SHOWN} more places")
    what = (
        "DSD operations were issued on a busy microthread, and their tasks waited there, "
        f"{cycles:,} cycles on all PEs together:"
    )
    return "\n  ".join([what, *lines, BUSY_ADVICE])


def _busy_places(machine: Machine) -> list[tuple[str, int, tuple[int, int]]]:
    """Return (place in the source, number of issues, first PE), the most frequent first.

    A place of the source may be in several tile programs.
    """
    found: dict[str, tuple[int, int]] = {}
    for issue in machine.busy_issues():
        where = _place_of(machine, issue)
        num_times, first_pe = found.get(where, (0, issue.first_pe))
        found[where] = (num_times + issue.num_times, min(first_pe, issue.first_pe))
    ordered = sorted(found.items(), key=lambda entry: (-entry[1][0], entry[1][1]))
    width = machine.image.width
    return [(where, n, (pe % width, pe // width)) for where, (n, pe) in ordered]


def _place_of(machine: Machine, issue: BusyIssue) -> str:
    program = machine.image.programs[issue.program]
    row = program.code[issue.pc]
    kind = DsdOperation(int(row[Field.TYPE])).name.lower()
    thread = program.configs[int(row[Field.IMM])].microthread
    return f"{place(program, issue.pc)}: @{kind} on microthread {thread}"


def describe_leftovers(machine: Machine, *, has_host: bool) -> str | None:
    """Return a description of the wavelets that were not received; None: there are none.

    Without a host, wavelets sent to the host are left out.
    """
    leftovers = [found for found in machine.find_leftovers() if has_host or not found.is_for_host]
    if not leftovers:
        return None
    lines = [leftover.text for leftover in leftovers[:_NUM_SHOWN]]
    if len(leftovers) > _NUM_SHOWN:
        lines.append(f"and {len(leftovers) - _NUM_SHOWN} more, by color and program")
    return "\n  ".join(
        [f"wavelets were left over when the run ended, at cycle {machine.cycle:,}:", *lines]
    )
