"""Scalar code of one PE: loops, and reads of the cycle counter (BENCH, SPIKE, EPCC-CS3)."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from onewafer.validation.case import Case, Kind, Point, Target

if TYPE_CHECKING:
    from onewafer.validation.bench import Bench

_NUM_ELEMENTS = 512


class _Loop(IntEnum):
    """The loops of `scalar_loop.csl`, as it numbers them."""

    SUM = 0
    DOT = 1
    AXPY = 2


def _loop(bench: Bench, variant: int) -> float:
    params: dict[str, int | bool] = {"variant": variant, "num_elements": _NUM_ELEMENTS}
    before, after = bench.run("scalar_loop", "wse3", "sdk", params=params).stopwatch.reads()
    return after - before


def _counter_start(bench: Bench) -> float:
    watch = bench.run("one_word", "wse3", "sdk", params={"num_hops": 1}).stopwatch
    return watch.reads(0)[0] - watch.task_starts(0)[0]


_LOOP_RULE = (
    "`while` over a u16 index, its bound known while compiling: from the read of the cycle "
    "counter before the loop to the one after it"
)
_LOOP_FINDING = (
    "a round of the loops without a store is a cycle too fast: what the compiler of the original "
    "does with index and address is not published"
)

CASES = (
    Case(
        name="counter-start-sdk",
        machine="wse3",
        profile="sdk",
        quantity="start of the cycle counter to a read at once",
        rule="from the first instruction of a launch, which starts the counter, to the next read",
        target=Target(absolute=1),
        source="SPIKE",
        kind=Kind.CALIBRATION,
        basis="timestamp_wait_cycles comes from it, timestamp_cycles also from windows of BENCH",
        measure=_counter_start,
        points=(Point("one read", 5),),
        finding=("the load of an address stands between start and read, and the read waits (M22)"),
    ),
    Case(
        name="scalar-sum-sdk",
        machine="wse3",
        profile="sdk",
        quantity="scalar sum of an f32 array of 512 elements",
        rule=_LOOP_RULE,
        target=Target(relative=0.1),
        source="BENCH",
        kind=Kind.CALIBRATION,
        basis="load_word comes from it",
        measure=_loop,
        points=(Point("s += x[i]", 7693, (_Loop.SUM,), work=6000),),
        finding=_LOOP_FINDING,
    ),
    Case(
        name="scalar-loops-sdk",
        machine="wse3",
        profile="sdk",
        quantity="scalar loop over f32 arrays of 512 elements",
        rule=_LOOP_RULE,
        target=Target(relative=0.05),
        source="BENCH",
        kind=Kind.VALIDATION,
        basis="costs of single instructions come from ALCF-CS3, load_word from scalar-sum-sdk",
        measure=_loop,
        points=(
            Point("s += x[i]·y[i]", 10254, (_Loop.DOT,), work=8000),
            Point("y[i] = a·x[i] + y[i]", 11276, (_Loop.AXPY,), work=9000),
        ),
        finding=_LOOP_FINDING,
    ),
)
