"""What a run cost: values, JSON and a table.

In: the ledger of a session. Out: a `Report`.
"""

from onewafer.pytorch.report.building import build_report
from onewafer.pytorch.report.placement import render_placement
from onewafer.pytorch.report.table import render
from onewafer.pytorch.report.values import (
    FORMAT,
    Advice,
    AdviceKind,
    CacheReport,
    FlopReport,
    HostCalls,
    HostCause,
    InnerCalls,
    LaunchOrigins,
    PartReport,
    PhaseReport,
    PlacementReport,
    ProgramReport,
    Report,
    SimulationReport,
    TensorReport,
    to_json,
    write_json,
)

__all__ = [
    "FORMAT",
    "Advice",
    "AdviceKind",
    "CacheReport",
    "FlopReport",
    "HostCalls",
    "HostCause",
    "InnerCalls",
    "LaunchOrigins",
    "PartReport",
    "PhaseReport",
    "PlacementReport",
    "ProgramReport",
    "Report",
    "SimulationReport",
    "TensorReport",
    "build_report",
    "render",
    "render_placement",
    "to_json",
    "write_json",
]
