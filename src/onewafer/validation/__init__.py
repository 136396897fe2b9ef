"""The simulated machine against published figures of the real one."""

from onewafer.validation.bench import Bench
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
from onewafer.validation.report import (
    TABLE_COLUMNS,
    render,
    render_details,
    render_page,
    to_json,
)

__all__ = [
    "FABRIC_CASES",
    "TABLE_COLUMNS",
    "Bench",
    "Case",
    "CaseResult",
    "Kind",
    "Point",
    "PointResult",
    "Target",
    "render",
    "render_details",
    "render_page",
    "run_case",
    "select_cases",
    "to_json",
]
