"""WSE-3 and WSE-2: vector operations and scalar code on one PE (ALCF-CS3, SPMM)."""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING

from onewafer.validation.case import Case, Kind, Point, Target

if TYPE_CHECKING:
    from onewafer.validation.bench import Bench, Run

_SHORT, _LONG = 64, 1024


class _Operation(IntEnum):
    """The operations of `vector.csl`, as it numbers them."""

    COPY_F16 = 0
    COPY_F32 = 1
    MULTIPLY_ADD_F16 = 2
    MULTIPLY_ADD_F32 = 3
    ADD_F16 = 4
    AXPY_F16 = 5
    SUM_F16 = 6
    MULTIPLY_F32 = 7


def _elapsed(run: Run) -> int:
    """Return the time between the last two counter reads, less that of the first two."""
    calibration, before, after = run.stopwatch.reads()
    return after - before - (before - calibration)


def _time(bench: Bench, target: tuple[str, str], operation: int, **sizes: int) -> int:
    """Time `vector.csl` on a machine and profile; `sizes` are its other parameters.

    One source is shifted by 2 elements: to banks in which no other operand lies (M13).
    """
    params: dict[str, int | bool] = {"stride": 1, "shift": 2, **sizes, "operation": operation}
    return _elapsed(bench.run("vector", *target, params=params))


def _shift_of(operation: int) -> int:
    """Return the shift of a source; the study's f32 multiply-add had both in equal banks."""
    return 0 if operation == _Operation.MULTIPLY_ADD_F32 else 2


def _rate(profile: str, bench: Bench, operation: int, stride: int = 1) -> float:
    sizes = {"stride": stride, "shift": _shift_of(operation)}
    times = [
        _time(bench, ("wse3", profile), operation, num_elements=n, **sizes) for n in (_SHORT, _LONG)
    ]
    return (_LONG - _SHORT) / (times[1] - times[0])


def _setup(profile: str, bench: Bench, operation: int) -> float:
    rate = _rate(profile, bench, operation)
    sizes = {"num_elements": _LONG, "shift": _shift_of(operation)}
    return _time(bench, ("wse3", profile), operation, **sizes) - _LONG / rate


def _sdk_reduction(bench: Bench) -> float:
    return 1 / _rate("sdk", bench, _Operation.SUM_F16)


def _sdk_dot(bench: Bench) -> float:
    short, long = 16, 116
    times = [
        _elapsed(bench.run("dot", "wse3", "sdk", params={"num_elements": n})) for n in (short, long)
    ]
    return (times[1] - times[0]) / (long - short)


def _wse2_multiply(bench: Bench, num_elements: int, shift: int) -> float:
    target = "wse2", "sdk"
    return _time(bench, target, _Operation.MULTIPLY_F32, num_elements=num_elements, shift=shift)


def _long_operation(bench: Bench) -> float:
    return _time(bench, ("wse3", "sdk"), _Operation.MULTIPLY_ADD_F16, num_elements=4096)


def _bank_conflict(profile: str, bench: Bench) -> float:
    times = [
        _time(
            bench,
            ("wse3", profile),
            _Operation.MULTIPLY_ADD_F32,
            num_elements=_LONG,
            shift=shift,
        )
        for shift in range(4)
    ]
    return max(times) / min(times)


_RATE_RULE = "960 elements by the time of 1,024 elements less that of 64"
_SETUP_RULE = (
    "the time of 1,024 elements less 1,024 by the measured rate; from the last read of the cycle "
    "counter before the operation to the first after it, less the time of two reads in a row"
)
_SETUP_FINDING = (
    "the set-up is DSR loads, memory_setup_cycles and resume_cycles; whatever else compiled code "
    "does between the two reads comes on top"
)

_BANK_CONFLICT = Case(
    name="bank-conflict",
    machine="wse3",
    profile="silicon",
    quantity="slowest over fastest alignment of a source",
    unit="times",
    rule=(
        "an f32 multiply-add of 1,024 elements with one source 0, 1, 2 and 3 words further on: "
        "the longest time by the shortest"
    ),
    target=Target(relative=0.05),
    source="ALCF-CS3",
    kind=Kind.VALIDATION,
    basis=(
        "bank_conflict_factor comes from the rule in the SDK's documentation, the rate of "
        "fmacs from it and from dsd-rate, which has both sources in equal banks"
    ),
    measure=partial(_bank_conflict, "silicon"),
    points=(Point("4 alignments", 1.94),),
)
CASES = (
    Case(
        name="dsd-rate",
        machine="wse3",
        profile="silicon",
        quantity="throughput of vector operations in memory",
        unit="elements/cycle",
        rule=_RATE_RULE,
        target=Target(relative=0.01),
        source="ALCF-CS3",
        kind=Kind.CALIBRATION,
        basis="elements_per_cycle comes from it",
        measure=partial(_rate, "silicon"),
        points=(
            Point("copy f16", 4.82, (_Operation.COPY_F16,)),
            Point("copy f32", 2.44, (_Operation.COPY_F32,)),
            Point("multiply-add f16", 2.92, (_Operation.MULTIPLY_ADD_F16,)),
            Point("multiply-add f32", 0.50, (_Operation.MULTIPLY_ADD_F32,)),
        ),
    ),
    Case(
        name="dsd-rate-sdk",
        machine="wse3",
        profile="sdk",
        quantity="throughput of vector operations in memory",
        unit="elements/cycle",
        rule=_RATE_RULE,
        target=Target(relative=0.02),
        source="ALCF-CS3",
        kind=Kind.CALIBRATION,
        basis="elements_per_cycle and the rule for strides (M32) come from it",
        measure=partial(_rate, "sdk"),
        points=(
            Point("copy f16", 8.0, (_Operation.COPY_F16, 1)),
            Point("copy f32", 4.0, (_Operation.COPY_F32, 1)),
            Point("multiply-add f16", 4.0, (_Operation.MULTIPLY_ADD_F16, 1)),
            Point("multiply-add f32", 0.5, (_Operation.MULTIPLY_ADD_F32, 1)),
            Point("add f16", 3.96, (_Operation.ADD_F16, 1)),
            Point("axpy f16", 3.94, (_Operation.AXPY_F16, 1)),
            Point("copy f16, every 2nd element", 4.0, (_Operation.COPY_F16, 2)),
            Point("copy f16, every 4th element", 2.0, (_Operation.COPY_F16, 4)),
        ),
    ),
    Case(
        name="dsd-setup",
        machine="wse3",
        profile="silicon",
        quantity="set-up of vector operations in memory",
        rule=_SETUP_RULE,
        target=Target(absolute=1.0),
        source="ALCF-CS3",
        kind=Kind.CALIBRATION,
        basis="resume_cycles and scalar_setup_cycles come from it",
        measure=partial(_setup, "silicon"),
        points=(
            Point("copy f16", 15, (_Operation.COPY_F16,)),
            Point("copy f32", 15, (_Operation.COPY_F32,)),
            Point("multiply-add f16", 16, (_Operation.MULTIPLY_ADD_F16,)),
            Point("multiply-add f32", 17, (_Operation.MULTIPLY_ADD_F32,)),
        ),
        finding=_SETUP_FINDING,
    ),
    Case(
        name="dsd-setup-sdk",
        machine="wse3",
        profile="sdk",
        quantity="set-up of vector operations in memory",
        rule=_SETUP_RULE,
        target=Target(absolute=1.0),
        source="ALCF-CS3",
        kind=Kind.CALIBRATION,
        basis="timestamp_drain_cycles comes from it, dsr_load and dsr_wait_0 from the same study",
        measure=partial(_setup, "sdk"),
        points=(
            Point("copy f16", 8, (_Operation.COPY_F16,)),
            Point("add f16", 9, (_Operation.ADD_F16,)),
            Point("axpy f16", 13, (_Operation.AXPY_F16,)),
        ),
        finding=(
            "an axpy has a scalar more to load, and to wait for: 4 cycles more than an addition "
            "there, none here, where the scalar comes before the registers of the operands"
        ),
    ),
    _BANK_CONFLICT,
    replace(
        _BANK_CONFLICT,
        name="bank-conflict-sdk",
        profile="sdk",
        rule="as bank-conflict",
        kind=Kind.CALIBRATION,
        basis="bank_conflict_factor and the rate of fmacs come from it",
        measure=partial(_bank_conflict, "sdk"),
    ),
    Case(
        name="long-operation-sdk",
        machine="wse3",
        profile="sdk",
        quantity="f16 multiply-add of 4,096 elements with all that it loads",
        rule=f"one operation: {_SETUP_RULE.split('; ', 1)[1]}",
        target=Target(relative=0.01),
        source="ALCF-CS3",
        kind=Kind.VALIDATION,
        basis="rate and set-up come from shorter operations of the same study",
        measure=_long_operation,
        points=(Point("n=4096", 1040, work=4096),),
        finding=(
            "8 cycles besides the elements, theirs 16: one register serves the destination and the "
            "first source here, and what else they load is not published"
        ),
    ),
    Case(
        name="reduction-sdk",
        machine="wse3",
        profile="sdk",
        quantity="sum of f16 elements into a scalar",
        unit="cycles/element",
        rule="the time of 1,024 elements less that of 64, by 960",
        target=Target(relative=0.01),
        source="ALCF-CS3",
        kind=Kind.CALIBRATION,
        basis="reduction_elements_per_cycle comes from it",
        measure=_sdk_reduction,
        points=(Point("@faddh(&sum, sum, x)", 2.0),),
    ),
    Case(
        name="scalar-dot-sdk",
        machine="wse3",
        profile="sdk",
        quantity="dot product as a scalar f32 loop, published as 22 to 25",
        unit="cycles/element",
        rule=(
            "a CSL loop `total += left[i] * right[i]`: the time of 116 elements less that of 16, "
            "by 100"
        ),
        target=Target(absolute=1.5),
        source="ALCF-CS3",
        kind=Kind.VALIDATION,
        basis="costs of single instructions come from the same study, none from this loop",
        measure=_sdk_dot,
        points=(Point("100 elements", 23.5),),
        finding=(
            "our loop has two loads and fewer address instructions than the vendor's, whose code "
            "is not published"
        ),
    ),
    Case(
        name="vector-multiply-wse2",
        machine="wse2",
        profile="sdk",
        quantity="f32 vector multiply, sources in different or in the same banks, n + 6 or 2n + 6",
        rule=f"one operation: {_SETUP_RULE.split('; ', 1)[1]}",
        target=Target(absolute=1.0),
        source="SPMM",
        kind=Kind.CALIBRATION,
        basis="the rate of fmuls, dsr_wait_0 and bank_conflict_factor come from it",
        measure=_wse2_multiply,
        points=(
            Point("n=1028, different banks", 1034, (1028, 2)),
            Point("n=1028, same banks", 2062, (1028, 0)),
            Point("n=5124, different banks", 5130, (5124, 2)),
            Point("n=5124, same banks", 10254, (5124, 0)),
        ),
        finding=_SETUP_FINDING,
    ),
)
