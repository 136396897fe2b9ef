"""Costs of programs: values and tables, from the records of their calls."""

from onewafer.execution.report.building import report_program
from onewafer.execution.report.fastest import find_fastest
from onewafer.execution.report.limit import find_limit
from onewafer.execution.report.phase_table import render_phases
from onewafer.execution.report.placement import render_placement
from onewafer.execution.report.simulation_words import show_wrong_values
from onewafer.execution.report.steps import energy_of, render_step, report_step
from onewafer.execution.report.table import render_programs
from onewafer.execution.report.values import (
    CacheReport,
    EnergyReport,
    FastestReport,
    LaunchOrigins,
    LimitReport,
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
    "EnergyReport",
    "FastestReport",
    "LaunchOrigins",
    "LimitReport",
    "PartReport",
    "PhaseReport",
    "PlacementReport",
    "ProgramReport",
    "SimulationReport",
    "StepReport",
    "TensorReport",
    "energy_of",
    "find_fastest",
    "find_limit",
    "render_phases",
    "render_placement",
    "render_programs",
    "render_step",
    "report_program",
    "report_step",
    "show_wrong_values",
]
