"""All benchmarks, in the order of the table, with the goals they are held against."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from onewafer.benchmarks import communication, local_work
from onewafer.benchmarks.all_reduce import all_reduce
from onewafer.benchmarks.benchmark import Benchmark
from onewafer.benchmarks.execution import measure_compilation, measure_workload
from onewafer.benchmarks.figures import Figure, Goal
from onewafer.benchmarks.gemv import gemv
from onewafer.benchmarks.idle import measure_idle
from onewafer.benchmarks.starting import measure_first_use, measure_starts
from onewafer.benchmarks.variants import Variant
from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.benchmarks.benchmark import Measure, Sizes
    from onewafer.benchmarks.workload import Workload

_HOPS_64 = Goal(figure=Figure.HOPS, at_least=40e6)
_HOPS_256 = Goal(figure=Figure.HOPS, at_least=15e6)
_MOVES_64 = Goal(figure=Figure.HOPS_WITH_RAMP, at_least=40e6)
_MOVES_256 = Goal(figure=Figure.HOPS_WITH_RAMP, at_least=15e6)
_RUN = Goal(figure=Figure.RUN_SECONDS, at_most=120)
_COMPILE_BY_COLUMN = Goal(figure=Figure.COMPILE_SECONDS, at_most=60)
_COMPILE_BY_PE = Goal(figure=Figure.COMPILE_SECONDS, at_most=180)


def _run(make: Callable[[Sizes], Workload]) -> Measure:
    return lambda conditions, sizes: measure_workload(make(sizes), conditions)


def _all_reduce(sizes: Sizes, *, machine: str, variant: Variant = Variant.SAME) -> Workload:
    num_words = sizes["num_words"]
    return all_reduce(
        sizes["width"], sizes["height"], machine=machine, num_words=num_words, variant=variant
    )


def _gemv(sizes: Sizes) -> Workload:
    return gemv(sizes["size"], sizes["width"], sizes["height"], machine="wse3")


def _rectangle(width: int, height: int, **others: int) -> Sizes:
    return {"width": width, "height": height, **others}


def _square(
    name: str,
    title: str,
    make: Callable[[Sizes], Workload],
    side: int,
    *goals: Goal,
    finding: str = "",
) -> Benchmark:
    """Return a benchmark of 128 words on a square of PEs."""
    return Benchmark(
        name=f"{name}-{side}",
        title=f"{title}, {{width}}×{{height}} PEs, {{num_words}} words",
        measure=_run(make),
        sizes=_rectangle(side, side, num_words=128),
        quick_sizes=_rectangle(6, 5, num_words=4),
        goals=goals,
        finding=finding,
    )


def _idle(name: str, *, num_words: int) -> Benchmark:
    return Benchmark(
        name=name,
        title="chain reduce on {active_width}×{active_height} of {width}×{height} PEs, "
        "{num_words} words",
        measure=measure_idle,
        sizes=_rectangle(750, 994, active_width=32, active_height=32, num_words=num_words),
        quick_sizes=_rectangle(9, 8, active_width=3, active_height=2, num_words=8),
        goals=(Goal(figure=Figure.IDLE_RATIO, at_most=1.3),),
    )


def _compilation(name: str, where: str, variant: Variant, goal: Goal) -> Benchmark:
    return Benchmark(
        name=name,
        title=f"compile {{width}}×{{height}} PEs, a param differs {where}",
        measure=lambda conditions, sizes: measure_compilation(
            _all_reduce(sizes, machine="wse2", variant=variant), conditions
        ),
        sizes=_rectangle(720, 720, num_words=4),
        quick_sizes=_rectangle(7, 5, num_words=4),
        goals=(goal,),
        is_large=True,
    )


_CHAIN = "chain reduce along rows"
_FLOOD = "multicast from one PE to all"
_CHAIN_FINDING = (
    "each hop comes with a move down the ramp and a DSD element. The engine that the goal comes "
    "from took 15 ns (64×64) and 52 ns (256×256) for a move or an element: 22 M and 6 M of these "
    "hops/s"
)
_FLOOD_FINDING = (
    "each hop comes with a move down the ramp, a DSD element and a store. The goal comes from a "
    "chain reduce of another engine, whose multicast did 8.6 M hops/s on 256×256"
)
BENCHMARKS: tuple[Benchmark, ...] = (
    _square(
        "chain-reduce",
        _CHAIN,
        communication.chain_reduce,
        64,
        _HOPS_64,
        _MOVES_64,
        finding=_CHAIN_FINDING,
    ),
    _square(
        "chain-reduce",
        _CHAIN,
        communication.chain_reduce,
        256,
        _HOPS_256,
        _MOVES_256,
        finding=_CHAIN_FINDING,
    ),
    _square("flood", _FLOOD, communication.flood, 64, _HOPS_64, finding=_FLOOD_FINDING),
    _square("flood", _FLOOD, communication.flood, 256, _HOPS_256, finding=_FLOOD_FINDING),
    _square("long-routes", "first to last PE of every row", communication.long_routes, 64),
    _square(
        "exchange",
        "exchange with four neighbours on seven microthreads",
        communication.exchange,
        64,
    ),
    Benchmark(
        name="axpy",
        title="{num_rounds} × @fmacs of {num_elements} f32, {width}×{height} PEs",
        measure=_run(local_work.axpy),
        sizes=_rectangle(64, 64, num_elements=512, num_rounds=20),
        quick_sizes=_rectangle(3, 2, num_elements=8, num_rounds=3),
    ),
    Benchmark(
        name="scalar-tasks",
        title="{num_steps} tasks of scalar code, {width}×{height} PEs",
        measure=_run(local_work.scalar_tasks),
        sizes=_rectangle(64, 64, num_steps=200),
        quick_sizes=_rectangle(3, 2, num_steps=9),
    ),
    _idle("idle-wafer", num_words=128),
    _idle("idle-wafer-long", num_words=4096),
    Benchmark(
        name="starts",
        title="cs_python with a host script for 4 PEs; onewafer --version",
        measure=measure_starts,
        sizes={"num_starts": 5},
        quick_sizes={"num_starts": 1},
        goals=(Goal(figure=Figure.CS_PYTHON_SECONDS, at_most=2),),
    ),
    Benchmark(
        name="first-use",
        title="4 PEs in a process that finds nothing in the cache",
        measure=measure_first_use,
        sizes={"compiled": 0},
        quick_sizes={"compiled": 0},
        goals=(Goal(figure=Figure.FIRST_USE_SECONDS, at_most=10),),
    ),
    Benchmark(
        name="first-use-compiled",
        title="the same where no prebuilt kernels fit",
        measure=measure_first_use,
        sizes={"compiled": 1},
        quick_sizes={"compiled": 0},
    ),
    _compilation("compile-by-column", "by column", Variant.BY_COLUMN, _COMPILE_BY_COLUMN),
    _compilation("compile-by-pe", "at every PE", Variant.BY_PE, _COMPILE_BY_PE),
    Benchmark(
        name="all-reduce-wse2",
        title="all-reduce on the whole WSE-2, {width}×{height} PEs, {num_words} words",
        measure=_run(partial(_all_reduce, machine="wse2")),
        sizes=_rectangle(750, 994, num_words=16),
        quick_sizes=_rectangle(6, 5, num_words=4),
        goals=(_RUN,),
        is_large=True,
    ),
    Benchmark(
        name="all-reduce-wse3",
        title="all-reduce on the whole WSE-3, {width}×{height} PEs, {num_words} words",
        measure=_run(partial(_all_reduce, machine="wse3")),
        sizes=_rectangle(755, 1170, num_words=16),
        quick_sizes=_rectangle(5, 6, num_words=4),
        goals=(_RUN,),
        is_large=True,
    ),
    Benchmark(
        name="gemv-16k",
        title="y = A·x, A {size}×{size} f16, {width}×{height} PEs of the WSE-3",
        measure=_run(_gemv),
        sizes=_rectangle(720, 720, size=16_384),
        quick_sizes=_rectangle(3, 4, size=10),
        goals=(_RUN, _COMPILE_BY_COLUMN),
        is_large=True,
    ),
)


def find_benchmark(name: str) -> Benchmark:
    """Return the benchmark of that name; raise `ConfigurationError` if there is none."""
    for benchmark in BENCHMARKS:
        if benchmark.name == name:
            return benchmark
    names = "\n  ".join(benchmark.name for benchmark in BENCHMARKS)
    raise ConfigurationError(f"there is no benchmark '{name}'; the benchmarks are:\n  {names}")


def select_benchmarks(names: Sequence[str], *, with_large: bool) -> tuple[Benchmark, ...]:
    """Return the benchmarks with these names, in the order of the table.

    Without names, all that are not large, or all. Raise `ConfigurationError` for an unknown name.
    """
    if names:
        chosen = {find_benchmark(name).name for name in names}
        return tuple(benchmark for benchmark in BENCHMARKS if benchmark.name in chosen)
    return tuple(b for b in BENCHMARKS if with_large or not b.is_large)
