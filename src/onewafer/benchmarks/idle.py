"""The cost of idle PEs: the time of a small program in a full wafer, divided by its time alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.benchmarks.communication import chain_reduce
from onewafer.benchmarks.execution import Execution, warm_up
from onewafer.benchmarks.figures import Figure, Measurement, median_cpu

if TYPE_CHECKING:
    from onewafer.benchmarks.benchmark import Conditions, Sizes
    from onewafer.benchmarks.clock import Duration


def measure_idle(conditions: Conditions, sizes: Sizes) -> Measurement:
    """Launch on both in turn, so that other load on the computer disturbs both alike."""
    warm_up(conditions)
    small = {
        "width": sizes["active_width"],
        "height": sizes["active_height"],
        "num_words": sizes["num_words"],
    }
    alone = Execution(chain_reduce(small), conditions)
    inside = Execution(chain_reduce(sizes), conditions)
    alone.launch(conditions, "first run alone")
    first = inside.launch(conditions, "first run inside")
    times_alone: list[Duration] = []
    times_inside: list[Duration] = []
    for number in range(1, conditions.repeat + 1):
        times_alone.append(alone.launch(conditions, f"run {number} alone"))
        times_inside.append(inside.launch(conditions, f"run {number} inside"))
    return Measurement(
        figures={
            Figure.IDLE_RATIO: median_cpu(times_inside) / median_cpu(times_alone),
            Figure.HOPS: inside.counts["wavelet_hops"] / median_cpu(times_inside),
            Figure.COMPILE_SECONDS: inside.compiling.wall_seconds,
            Figure.LOAD_SECONDS: inside.loading.wall_seconds,
        },
        counts=inside.counts,
        durations={
            "compile": (inside.compiling,),
            "load": (inside.loading,),
            "first_run": (first,),
            "run": tuple(times_inside),
            "run_alone": tuple(times_alone),
        },
        peak_bytes=inside.peak_bytes,
        checked="every result is NumPy's, after every launch",
    )
