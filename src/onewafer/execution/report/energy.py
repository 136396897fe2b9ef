"""The energy of a program's work: of the PEs that it uses, and of the whole system around them.

The rule is that of recordings (`energy_joules`): a PE has its share, one of all PEs of the fabric,
of the power of an idle system, and, while it works, of what a busy system takes more. That power
divides so is assumed; the two powers have their sources in `arch/wafer_systems`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.arch import find_wafer_system
from onewafer.execution.report.phases import busy_pes
from onewafer.execution.report.values import EnergyReport
from onewafer.units import to_seconds

if TYPE_CHECKING:
    from onewafer.execution.records import ProgramRecord


def energy_of(record: ProgramRecord, cycles: float) -> EnergyReport | None:
    """Return the energy of so many cycles of a program; None: the system's power is not known.

    PEs that were not observed count as busy; those that the program does not use are idle.
    """
    architecture, program = record.architecture, record.program
    system = find_wafer_system(architecture.name)
    if system is None:
        return None
    seconds = to_seconds(cycles, clock_hertz=record.clock_hertz)
    busy = busy_pes(record, record.activity)
    used = program.width * program.height / (architecture.fabric_width * architecture.fabric_height)
    idle_joules = system.idle_watts * seconds
    more = used * (1.0 if busy is None else busy) * (system.busy_watts - system.idle_watts)
    return EnergyReport(
        system=system.title,
        joules=idle_joules + more * seconds,
        joules_of_pes=used * idle_joules + more * seconds,
    )
