"""What programs cost: values and tables, from the records of their calls."""

from onewafer.execution.report.building import report_program
from onewafer.execution.report.phase_table import render_phases
from onewafer.execution.report.placement import render_placement
from onewafer.execution.report.table import render_programs
from onewafer.execution.report.values import (
    CacheReport,
    LaunchOrigins,
    PartReport,
    PhaseReport,
    PlacementReport,
    ProgramReport,
    SimulationReport,
    TensorReport,
)

__all__ = [
    "CacheReport",
    "LaunchOrigins",
    "PartReport",
    "PhaseReport",
    "PlacementReport",
    "ProgramReport",
    "SimulationReport",
    "TensorReport",
    "render_phases",
    "render_placement",
    "render_programs",
    "report_program",
]
