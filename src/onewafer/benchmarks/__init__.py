"""How fast onewafer is: programs with known answers, timed, and held against goals."""

from onewafer.benchmarks.all_reduce import all_reduce
from onewafer.benchmarks.benchmark import Benchmark, Conditions, Sizes
from onewafer.benchmarks.catalog import BENCHMARKS, find_benchmark, select_benchmarks
from onewafer.benchmarks.curves import Curve, CurveResult, growth_curves, measure_curve
from onewafer.benchmarks.facts import Facts, find_facts, load_average
from onewafer.benchmarks.figures import Figure, Goal, Measurement
from onewafer.benchmarks.gemv import gemv
from onewafer.benchmarks.page import render_page
from onewafer.benchmarks.plots import draw, require_matplotlib
from onewafer.benchmarks.report import TABLE_COLUMNS, Results, render, to_json
from onewafer.benchmarks.runner import Outcome, run_benchmark
from onewafer.benchmarks.variants import Variant
from onewafer.benchmarks.workload import Workload

__all__ = [
    "BENCHMARKS",
    "TABLE_COLUMNS",
    "Benchmark",
    "Conditions",
    "Curve",
    "CurveResult",
    "Facts",
    "Figure",
    "Goal",
    "Measurement",
    "Outcome",
    "Results",
    "Sizes",
    "Variant",
    "Workload",
    "all_reduce",
    "draw",
    "find_benchmark",
    "find_facts",
    "gemv",
    "growth_curves",
    "load_average",
    "measure_curve",
    "render",
    "render_page",
    "require_matplotlib",
    "run_benchmark",
    "select_benchmarks",
    "to_json",
]
