"""Whole kernels: SUMMA, and a matrix-vector product on one PE (ZHANG, BENCH, GEMMLOG)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from onewafer.validation.case import Case, Kind, Point, Target

if TYPE_CHECKING:
    from onewafer.validation.bench import Bench

_FEW_PES, _MANY_PES = 4, 8
_ITERATIONS = 10


def matvec_cycles(size: int) -> float:
    """Return N·N_pad + 1.075·N + 36.7, N_pad being N rounded up to 4."""
    padded = (size + 3) // 4 * 4
    return size * padded + 1.075 * size + 36.7


def _summa_step(bench: Bench, block_size: int) -> float:
    few, many = (
        _gemm("wse2", "silicon", bench, num_pes, block_size) for num_pes in (_FEW_PES, _MANY_PES)
    )
    return (many - few) / (_MANY_PES - _FEW_PES)


def _gemm(machine: str, profile: str, bench: Bench, num_pes: int, block_size: int) -> float:
    params: dict[str, int | bool] = {"num_pes": num_pes, "block_size": block_size}
    run = bench.run("gemm", machine, profile, params=params)
    run.expect("c_home", 0, 0, value=float(num_pes * block_size))
    before, after = run.stopwatch.reads()
    return after - before


def _gemm_case(machine: str, source: str, cycles: int, *, original: str) -> Case:
    return Case(
        name=f"gemm-{machine}",
        machine=machine,
        profile="sdk",
        quantity="f32 GEMM by SUMMA over `<collectives_2d>`",
        rule=(
            "two broadcasts a step and a multiply-add for every element of B, on PE (0, 0) from "
            "a read of the cycle counter at its launch to one after the last step. The library "
            f"is ours, with the vendor's interface. {original}"
        ),
        target=Target(relative=0.1),
        source=source,
        kind=Kind.VALIDATION,
        basis="no constant comes from it",
        measure=partial(_gemm, machine, "sdk"),
        points=(Point("4×4 PEs, t=14", cycles, (4, 14), work=500_000),),
        finding=(
            "an element of B takes 18 cycles besides its multiply-add here, and 43 in the log that "
            "GEMMLOG analyses: 12 of index arithmetic, 8 of a load, 5 for the next descriptor, 11 "
            "of the loop, 7 of stalls. The vendor's code is not published, so ours is not made "
            "slower"
        ),
    )


def _matvec(bench: Bench, size: int) -> float:
    params: dict[str, int | bool] = {"size": size, "iterations": _ITERATIONS}
    run = bench.run("matvec", "wse2", "sdk", params=params)
    run.expect("y", 0, value=float(size * _ITERATIONS))
    before, after = run.stopwatch.reads()
    return (after - before) / _ITERATIONS


CASES = (
    Case(
        name="summa-step",
        machine="wse2",
        profile="silicon",
        quantity="one step of an f32 SUMMA with blocks of t × t",
        rule=(
            "as gemm-wse2: the time on PE (0, 0) of 8×8 PEs less that of 4×4, by 4. The original "
            "is the vendor's example of GEMM over `<collectives_2d>` on 32 to 750 PEs a side, and "
            "hardly depends on their number"
        ),
        target=Target(relative=0.1),
        source="ZHANG",
        kind=Kind.VALIDATION,
        basis="instruction costs come from ALCF-CS3, the rate of fmacs from ZHANG's matvec",
        measure=_summa_step,
        points=tuple(
            Point(
                f"t={size}",
                cycles,
                (size,),
                work=_MANY_PES**3 * size**2 * (12 + size) // 4,
            )
            for size, cycles in ((2, 522.0), (4, 910.4), (8, 3031.5), (16, 14906.0))
        ),
        finding=(
            "the published points are 365 + t²·(26.5 + 1.89·t); blocks of one number take 527 "
            "cycles a step here, most of them in our collectives library. What an element of B "
            "costs besides its multiply-add (loads, address arithmetic and branches) is less here. "
            "Both sources of a multiply-add lie in equal banks (M13), since all blocks are "
            "multiples of 4 words long"
        ),
    ),
    Case(
        name="single-tile-matvec",
        machine="wse2",
        profile="sdk",
        quantity="f32 matrix-vector product on one PE, N·N_pad + 1.075·N + 36.7",
        rule=(
            "10 products in a row by 10, each with `@map` over the columns as in the original; "
            "from the read of the cycle counter before them to the one after, one read included"
        ),
        target=Target(relative=0.02),
        source="ZHANG",
        kind=Kind.CALIBRATION,
        basis="the rate of fmacs, scalar_setup_cycles and the rules of map loops come from it",
        measure=_matvec,
        points=tuple(
            Point(f"N={size}", matvec_cycles(size), (size,), work=size * size)
            for size in (10, 20, 40, 60, 80, 100)
        ),
        finding=(
            "a constant of 18 to 25 cycles: what a product does before its loop. Ours is inlined "
            "into the loop over the products"
        ),
    ),
    _gemm_case(
        "wse3", "BENCH", 51_425, original="The original is the vendor's example of that name"
    ),
    _gemm_case("wse2", "GEMMLOG", 45_783, original="The original is a pipelined variant"),
)
