"""Costs of programs: values and tables, from the records of their calls."""

from onewafer.execution.report.building import report_program
from onewafer.execution.report.energy import joules_of
from onewafer.execution.report.phase_table import render_phases
from onewafer.execution.report.placement import render_placement
from onewafer.execution.report.steps import render_step, report_step
from onewafer.execution.report.table import render_programs
from onewafer.execution.report.values import (
    CacheReport,
    LaunchOrigins,
    PartReport,
    PhaseReport,
    PlacementReport,
    ProgramReport,
    SimulationReport,
    StepReport,
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
    "StepReport",
    "TensorReport",
    "joules_of",
    "render_phases",
    "render_placement",
    "render_programs",
    "render_step",
    "report_program",
    "report_step",
]
