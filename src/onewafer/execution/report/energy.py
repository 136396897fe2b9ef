"""The energy of a program's work: that of the whole system, in which the other PEs are idle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.arch import find_wafer_system
from onewafer.execution.report.phases import busy_pes
from onewafer.units import to_seconds

if TYPE_CHECKING:
    from onewafer.execution.records import ProgramRecord


def joules_of(record: ProgramRecord, cycles: float) -> float | None:
    """Return the energy of so many cycles of a program; None: the system's power is not known.

    The wafer draws its idle power all the time, and each PE its share of the rest while it works.
    PEs that were not observed count as busy.
    """
    architecture, program = record.architecture, record.program
    system = find_wafer_system(architecture.name)
    if system is None:
        return None
    busy = busy_pes(record, record.activity)
    working = program.width * program.height * (1.0 if busy is None else busy)
    share = working / (architecture.fabric_width * architecture.fabric_height)
    watts = system.idle_watts + share * (system.busy_watts - system.idle_watts)
    return watts * to_seconds(cycles, clock_hertz=record.clock_hertz)
