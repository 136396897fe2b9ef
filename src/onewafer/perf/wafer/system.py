"""Systems of wafers as users name them: `cs3`, `cs3x4`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.arch import (
    find_wafer_system,
    load_architecture,
    load_wafer_system,
    wafer_system_names,
)
from onewafer.errors import ConfigurationError
from onewafer.units import format_hertz

if TYPE_CHECKING:
    from onewafer.arch import Architecture, WaferSystem
    from onewafer.perf.wafer.options import WaferOptions

_NAME = re.compile(r"(?P<family>[a-z]+\d+)(?:x(?P<count>\d{1,30}))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wafers:
    """A number of systems of one kind."""

    name: str
    """The name that the user wrote."""
    system: WaferSystem
    num_wafers: int = 1


@dataclass(frozen=True, slots=True)
class Machine:
    """Wafers with a timing profile and a clock, as equations need them."""

    wafers: Wafers
    architecture: Architecture
    clock_hertz: float

    @property
    def system(self) -> WaferSystem:
        """One of the systems."""
        return self.wafers.system

    @property
    def num_wafers(self) -> int:
        """Number of wafers."""
        return self.wafers.num_wafers

    @property
    def title(self) -> str:
        """The title in tables: `4 × CS-3, WSE-3 at 850 MHz`."""
        count = f"{self.num_wafers} × " if self.num_wafers > 1 else ""
        wafer = self.architecture.title.partition(" (")[0]
        return f"{count}{self.system.title}, {wafer} at {format_hertz(self.clock_hertz)}"

    @property
    def clock_note(self) -> str:
        """A sentence on the clock and its published values."""
        ends = self.system.slowest_clock_hertz, self.system.fastest_clock_hertz
        slowest, fastest = map(format_hertz, ends)
        clock = format_hertz(self.clock_hertz)
        return f"the clock is {clock}; published clocks run from {slowest} to {fastest}"

    def seconds(self, cycles: float) -> float:
        """Return the time of a cycle count."""
        return cycles / self.clock_hertz


def parse_system(name: str) -> Wafers | None:
    """Return the systems of a name; None if it names neither a wafer nor its system.

    Raises ConfigurationError for an impossible number of systems.

    >>> parse_system("cs3x4").num_wafers, parse_system("h100x8"), parse_system("wse3x4").name
    (4, None, 'cs3x4')
    """
    found = _NAME.fullmatch(name.strip())
    if found is None:
        return None
    family = found["family"].lower()
    if family in wafer_system_names():
        system = load_wafer_system(family)
    elif (around := find_wafer_system(family)) is not None:
        system, name = around, name.strip().lower().replace(family, around.name)
    else:
        return None
    count = int(found["count"] or 1)
    if not 1 <= count <= system.max_systems:
        raise ConfigurationError(
            f"{name!r}: a cluster has 1 to {system.max_systems:,} {system.title}; "
            f"write {system.name} for one, {system.name}x4 for four"
        )
    return Wafers(name, system, count)


def machine(system: str | Wafers, options: WaferOptions) -> Machine:
    """Return the wafers of a system with the profile, variant and clock of the options.

    Raises ConfigurationError for a name that is no wafer system.
    """
    wafers = parse_system(system) if isinstance(system, str) else system
    if wafers is None:
        raise ConfigurationError(
            f"there is no wafer system {system!r}; write one of {', '.join(wafer_system_names())}, "
            "or several as in cs3x4"
        )
    usual = load_architecture(wafers.system.wafer, profile=options.profile)
    if not options.variant:
        return Machine(wafers, usual, options.clock_hertz or usual.clock_hertz)
    name = f"{wafers.system.wafer}:{options.variant}"
    architecture = load_architecture(name, profile=options.profile)
    share = _num_pes(architecture) / _num_pes(usual)
    wafers = replace(wafers, system=_scaled(wafers.system, share))
    return Machine(wafers, architecture, options.clock_hertz or architecture.clock_hertz)


def _num_pes(architecture: Architecture) -> int:
    return architecture.fabric_width * architecture.fabric_height


def _scaled(system: WaferSystem, share: float) -> WaferSystem:
    """Scale a system to a wafer with a share of the PEs: its peak and its power."""
    return replace(
        system,
        num_cores=round(system.num_cores * share),
        busy_watts=system.busy_watts * share,
        idle_watts=system.idle_watts * share,
    )


def with_wafers(machine: Machine, num_wafers: int) -> Machine:
    """Return the same machine with another number of wafers."""
    return replace(machine, wafers=replace(machine.wafers, num_wafers=num_wafers))
