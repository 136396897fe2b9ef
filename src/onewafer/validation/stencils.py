"""Both machines: stencils of one point a PE, and of a block of points (STN)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from onewafer.validation.case import Case, Kind, Point, Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.validation.bench import Bench

_FEW_ROUNDS, _MORE_ROUNDS = 4, 12
_FEW_BLOCKS, _MORE_BLOCKS = 2, 4


def _point(machine: str, bench: Bench, size: int) -> float:
    ends: list[int] = []
    for num_rounds in (_FEW_ROUNDS, _MORE_ROUNDS):
        params: dict[str, int | bool] = {"size": size, "num_rounds": num_rounds}
        run = bench.run("point_stencil", machine, "sdk", params=params)
        run.expect("point", 1, 1, value=1.0)
        ends.append(run.stopwatch.last_element(1, 1))
    return (ends[1] - ends[0]) / (_MORE_ROUNDS - _FEW_ROUNDS)


def _block(machine: str, bench: Bench, radius: int, size: int) -> float:
    ends: list[int] = []
    for num_rounds in (_FEW_BLOCKS, _MORE_BLOCKS):
        params: dict[str, int | bool] = {
            "size": size,
            "radius": radius,
            "num_rounds": num_rounds,
        }
        run = bench.run("block_stencil", machine, "sdk", params=params)
        ends.append(run.stopwatch.last_element(1, 1))
    return (ends[1] - ends[0]) / (_MORE_BLOCKS - _FEW_BLOCKS)


def _suffix(kind: Kind) -> str:
    return "" if kind is Kind.VALIDATION else "-fitted"


def _point_case(
    machine: str, sums: str, cycles: Mapping[int, int], *, basis: str, kind: Kind
) -> Case:
    return Case(
        name=f"point-stencil-{machine}{_suffix(kind)}",
        machine=machine,
        profile="sdk",
        quantity="round of a 5-point stencil with a point a PE",
        rule=(
            f"send x·w to four neighbours, scale x, add what they sent ({sums}): synchronous "
            "operations of one element whose operands are loaded before the loop; the last "
            "element of PE (1, 1) after 12 rounds less that after 4, by 8. PEs of the border "
            "send a constant"
        ),
        target=Target(relative=0.1),
        source="STN",
        kind=kind,
        basis=basis,
        measure=partial(_point, machine),
        points=tuple(
            Point(f"{size}×{size} PEs", theirs, (size,), work=200 * size**2)
            for size, theirs in cycles.items()
        ),
        finding=(
            "3×3 has rounds of six operations, of which each waits for the one before it (M152). "
            "5×5: PEs in the middle wait for each other besides, 3 cycles on the WSE-2 and none on "
            "the WSE-3, theirs for 4 and 6. On the WSE-3 a word takes 2 cycles more there: the log "
            "of a message (ALCF-CS3) has 9 from the issue of a send to the element of a receive "
            "beside it, and 7 come out here, where the ramp takes as long as on the WSE-2 (M40)"
        ),
    )


def _block_case(
    machine: str, cycles: Mapping[tuple[int, int], int], *, basis: str, kind: Kind
) -> Case:
    return Case(
        name=f"block-stencil-{machine}{_suffix(kind)}",
        machine=machine,
        profile="sdk",
        quantity="round of a star stencil over a block of n×n f32 points a PE",
        rule=(
            "four asynchronous sends and four receives of n·r words, each with a task at its end "
            "that counts; a task with the operations over two arrays that lie next to each other "
            "(r=1: two products and four sums, operands loaded before the loop; r=2: a product "
            "and eight multiply-adds); a task that counts rounds. The last element of the PE in "
            "the middle after 4 rounds less that after 2, by 2. The original of r=1 on the WSE-3 "
            "has no tasks at the ends of its exchange for n ≥ 4"
        ),
        target=Target(relative=0.1),
        source="STN",
        kind=kind,
        basis=basis,
        measure=partial(_block, machine),
        points=tuple(
            Point(f"r={radius}, n={size}", theirs, (radius, size), work=40 * radius * size**2)
            for (radius, size), theirs in cycles.items()
        ),
        finding=(
            "small blocks are too slow: the eight asynchronous operations load two registers "
            "each, which theirs may load once, and operations on one element wait for each other "
            "(M152). r=1 with n=10 on the WSE-3 takes 5 cycles a row more there than any source "
            "explains"
        ),
    )


_WSE2_SUMS = "east with west, north with south, then both sums to x"
_WSE3_SUMS = "one after the other"
_NOTHING = "no constant comes from it"
_RESULTS = "result_cycles comes from it"

CASES = (
    _point_case("wse2", _WSE2_SUMS, {5: 16}, basis=_NOTHING, kind=Kind.VALIDATION),
    _point_case("wse3", _WSE3_SUMS, {5: 23}, basis=_NOTHING, kind=Kind.VALIDATION),
    _point_case("wse2", _WSE2_SUMS, {3: 12}, basis=_RESULTS, kind=Kind.CALIBRATION),
    _point_case("wse3", _WSE3_SUMS, {3: 17}, basis=_RESULTS, kind=Kind.CALIBRATION),
    _block_case(
        "wse2",
        {
            (1, 10): 783,
            (1, 20): 2670,
            (1, 64): 25270,
            (2, 10): 1676,
            (2, 64): 42358,
        },
        basis=_NOTHING,
        kind=Kind.VALIDATION,
    ),
    _block_case(
        "wse3",
        {
            (1, 10): 558,
            (1, 20): 1788,
            (1, 64): 16924,
            (2, 10): 1712,
            (2, 30): 12431,
            (2, 64): 42228,
        },
        basis=_NOTHING,
        kind=Kind.VALIDATION,
    ),
    _block_case(
        "wse2",
        {(1, 1): 127, (2, 20): 4545},
        basis="end_task and wrap_cycles are those of the WSE-3",
        kind=Kind.CALIBRATION,
    ),
    _block_case(
        "wse3",
        {(1, 1): 157, (2, 15): 3418, (2, 20): 4572},
        basis="end_task, wrap_cycles and the rates of fmacs and fmuls come from it",
        kind=Kind.CALIBRATION,
    ),
)
