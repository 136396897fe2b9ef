"""Comparisons for people (table, picture), for programs (JSON) and for pandas."""

from onewafer.perf.report.frame import to_pandas
from onewafer.perf.report.json_form import to_json
from onewafer.perf.report.plot import draw, require_matplotlib
from onewafer.perf.report.table import TABLE_COLUMNS, render

__all__ = ["TABLE_COLUMNS", "draw", "render", "require_matplotlib", "to_json", "to_pandas"]
