"""The review of a run: warnings at its end about behaviour that is rarely intended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import DeadlockError, SimulationError
from onewafer.host.runs.readers import RunReader
from onewafer.simulator import (
    BUSY_ADVICE,
    CONTROL_AS_DATA,
    MERGED_ACTIVATIONS,
    Checking,
    StallReason,
    describe_busy,
    describe_controls,
    describe_merged,
)

if TYPE_CHECKING:
    from onewafer.host.runs.progress import RunObserver
    from onewafer.settings import Settings
    from onewafer.simulator import Machine

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
        """True if findings were reported."""

    def failed(self, error: SimulationError) -> None:
        if self.machine is not None:
            self._warn(self.machine, is_deadlock=isinstance(error, DeadlockError))

    def _warn(
        self, machine: Machine, leftovers: str | None = None, *, is_deadlock: bool = False
    ) -> None:
        if not self._is_wanted:
            return
        errors, warnings = [leftovers], list[str | None]()
        if not self._has_warned:
            errors = [describe_busy_issues(machine), leftovers]
            warnings = [describe_controls_as_data(machine)]
            if not is_deadlock:  # whose report says so
                warnings.append(describe_merged_activations(machine))
        self._has_warned = True
        for text in filter(None, warnings):
            self._observer.say(f"warning: {text}")
        for text in filter(None, errors):
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
    places = describe_busy(machine.image, machine.findings())
    if not places:
        return None
    cycles = int(machine.statistics().stall_cycles[StallReason.MICROTHREAD_BUSY].sum())
    what = (
        "DSD operations were issued on a busy microthread, and their tasks waited there, "
        f"{cycles:,} cycles on all PEs together:"
    )
    return "\n  ".join([what, *places, BUSY_ADVICE])


def describe_merged_activations(machine: Machine) -> str | None:
    """Return a text about tasks that were activated while active (M61); None: there are none."""
    places = describe_merged(machine.image, machine.findings())
    return "\n  ".join([MERGED_ACTIVATIONS, *places]) if places else None


def describe_controls_as_data(machine: Machine) -> str | None:
    """Return a text about control wavelets taken as elements (M95); None: there are none."""
    places = describe_controls(machine.image, machine.findings())
    return "\n  ".join([CONTROL_AS_DATA, *places]) if places else None


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
