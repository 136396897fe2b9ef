"""The simulated machine against published figures of the real one."""

from onewafer.validation.bench import Bench, default_engine
from onewafer.validation.case import (
    Case,
    CaseResult,
    Kind,
    Point,
    PointResult,
    Target,
    run_case,
)
from onewafer.validation.fabric import FABRIC_CASES, select_cases
from onewafer.validation.report import render, render_details, to_json

__all__ = [
    "FABRIC_CASES",
    "Bench",
    "Case",
    "CaseResult",
    "Kind",
    "Point",
    "PointResult",
    "Target",
    "default_engine",
    "render",
    "render_details",
    "run_case",
    "select_cases",
    "to_json",
]
