"""Comparisons and validations for people (table, picture), for programs (JSON) and for pandas."""

from onewafer.perf.report.curve import render_curve
from onewafer.perf.report.frame import to_pandas
from onewafer.perf.report.json_form import to_json
from onewafer.perf.report.picture import LINE_COLORS, as_label, check_picture, picture
from onewafer.perf.report.plot import draw, draw_curve
from onewafer.perf.report.quantities import QUANTITIES, Quantity
from onewafer.perf.report.table import describe, render, render_answer
from onewafer.perf.report.validation_table import (
    VALIDATION_COLUMNS,
    render_validation,
    render_validation_page,
    validation_to_json,
)

__all__ = [
    "LINE_COLORS",
    "QUANTITIES",
    "VALIDATION_COLUMNS",
    "Quantity",
    "as_label",
    "check_picture",
    "describe",
    "draw",
    "draw_curve",
    "picture",
    "render",
    "render_answer",
    "render_curve",
    "render_validation",
    "render_validation_page",
    "to_json",
    "to_pandas",
    "validation_to_json",
]
