"""WSE-2: collectives in a row of PEs against the closed forms of NOWR."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

from onewafer.validation.case import Case, Kind, Point, Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.validation.bench import Bench
    from onewafer.validation.case import Measure

_RAMP_CYCLES = 2
"""T_R of NOWR; the formulas are theirs, whatever the catalog says."""
_STEP = 2 * _RAMP_CYCLES + 1
"""The term that each dependent PE adds."""
_LONGEST_OPERATION = 0x7FFE
"""Elements of a star reduce; one more is an endless fabric operand (M35)."""
_NUM_WORDS = (1, 16, 256, 4096)
_NUM_PES = (4, 16, 64, 256, 512)
_SQUARES = (4, 16, 64, 256, 484)


def broadcast_cycles(num_pes: int, num_words: int) -> float:
    """Return B + P + 2·T_R."""
    return num_words + num_pes + 2 * _RAMP_CYCLES


def star_cycles(num_pes: int, num_words: int) -> float:
    """Return B·(P − 1) + 2·T_R + 1."""
    return num_words * (num_pes - 1) + _STEP


def chain_cycles(num_pes: int, num_words: int) -> float:
    """Return B + (2·T_R + 2)·(P − 1)."""
    return num_words + (_STEP + 1) * (num_pes - 1)


def two_phase_cycles(num_pes: int, num_words: int) -> float:
    """Return max(C, E/N + L) + (2·T_R + 1)·D for √P groups of √P PEs.

    C = 2B; E = 2B·(P − √P) hops, N = L = P − 1; D = 2√P − 2.
    """
    group = isqrt(num_pes)
    hops = 2 * num_words * (num_pes - group)
    distance = num_pes - 1
    return max(2 * num_words, hops / distance + distance) + _STEP * (2 * group - 2)


def ring_cycles(num_pes: int, num_words: int) -> float:
    """Return 2·(P − 1)·B/P + 4·P − 6 + 2·(P − 1)·(2·T_R + 1)."""
    steps = 2 * (num_pes - 1)
    return steps * num_words / num_pes + 4 * num_pes - 6 + steps * _STEP


def _span(bench: Bench, program: str, last: int, **params: int) -> int:
    """Run a reduction of ones and return first wavelet on a ramp → end of the last operation."""
    run = bench.run(program, "wse2", "silicon", params=dict(params))
    run.expect("values", last, value=float(last + 1))
    return run.stopwatch.last_element(last) - run.stopwatch.first_element()


def _broadcast(bench: Bench, num_pes: int, num_words: int) -> float:
    params: dict[str, int | bool] = {"num_pes": num_pes, "num_words": num_words, "heading": 0}
    run = bench.run("line", "wse2", "silicon", params=params)
    run.expect("values", num_pes - 1, value=1.0)
    return run.stopwatch.last_element(num_pes - 1) - run.stopwatch.first_element()


def _star(bench: Bench, num_pes: int, num_words: int) -> float:
    params = {"num_pes": num_pes, "num_words": num_words, "longest": _LONGEST_OPERATION}
    run = bench.run("star", "wse2", "silicon", params=dict(params))
    run.expect_total("sums", 0, value=float((num_pes - 1) * num_words))
    return run.stopwatch.last_element(0) - run.stopwatch.first_element()


def _chain(bench: Bench, num_pes: int, num_words: int) -> float:
    return _span(bench, "chain", num_pes - 1, num_pes=num_pes, num_words=num_words)


def _two_phase(bench: Bench, num_pes: int, num_words: int) -> float:
    group = isqrt(num_pes)
    return _span(
        bench,
        "two_phase",
        num_pes - 1,
        num_groups=num_pes // group,
        group_size=group,
        num_words=num_words,
    )


def _ring(bench: Bench, num_pes: int, num_words: int) -> float:
    params: dict[str, int | bool] = {"num_pes": num_pes, "block_words": num_words // num_pes}
    run = bench.run("ring", "wse2", "silicon", params=params)
    for x in range(num_pes):
        run.expect("values", x, value=float(num_pes))
    return run.stopwatch.last_anywhere() - run.stopwatch.first_element()


def _points(
    cycles: Callable[[int, int], float],
    work: Callable[[int, int], int],
    *,
    num_pes: tuple[int, ...] = _NUM_PES,
    whole_blocks: bool = False,
) -> tuple[Point, ...]:
    return tuple(
        Point(f"P={pes}, B={words}", cycles(pes, words), (pes, words), work=work(pes, words))
        for pes in num_pes
        for words in _NUM_WORDS
        if not whole_blocks or words >= pes
    )


def _case(
    name: str,
    quantity: str,
    rule: str,
    *,
    measure: Measure,
    points: tuple[Point, ...],
    kind: Kind,
    basis: str,
    finding: str = "",
) -> Case:
    return Case(
        name=name,
        machine="wse2",
        profile="silicon",
        quantity=quantity,
        rule=f"{rule}. From the first wavelet on a ramp to the end of the last receive; all armed",
        target=Target(relative=0.04, absolute=8),
        source="NOWR",
        kind=kind,
        basis=basis,
        measure=measure,
        points=points,
        finding=finding,
    )


_SHARED = "T_R and the hop are constants of the same paper; nothing was fitted on this pattern"

CASES = (
    _case(
        "broadcast",
        "broadcast in a row, B + P + 2·T_R",
        "PE 0 multicasts B words to the P−1 others",
        measure=_broadcast,
        points=_points(broadcast_cycles, lambda pes, words: pes * words),
        kind=Kind.CALIBRATION,
        basis="ramp_cycles and hop_cycles come from it",
    ),
    _case(
        "star-reduce",
        "star reduce in a row, B·(P−1) + 2·T_R + 1",
        (
            "P−1 PEs send B words to PE 0, which adds them in as few operations as extents allow; "
            "the streams merge in the routers (M56) where the machine would use switches, so that "
            "they mix, and only the total is checked"
        ),
        measure=_star,
        points=_points(star_cycles, lambda pes, words: pes * pes * words // 2),
        kind=Kind.VALIDATION,
        basis=_SHARED,
    ),
    _case(
        "chain-reduce",
        "chain reduce in a row, B + (2·T_R + 2)·(P−1)",
        "every PE adds its B words to those that stream by, as one operation",
        measure=_chain,
        points=_points(chain_cycles, lambda pes, words: pes * words),
        kind=Kind.CALIBRATION,
        basis="ramp_cycles and hop_cycles come from it, and the rule of the ramp (M40)",
    ),
    _case(
        "two-phase-reduce",
        "two-phase reduce in a row, max(2B, E/N + L) + (2·T_R + 1)·(2√P − 2)",
        "chains in √P groups, then a chain of their last PEs; P is a square",
        measure=_two_phase,
        points=_points(two_phase_cycles, lambda pes, words: 2 * pes * words, num_pes=_SQUARES),
        kind=Kind.VALIDATION,
        basis=_SHARED,
        finding=(
            "the formula has the larger of contention and distance, a run has both: the second "
            "leader takes in its 2B words, at best one a cycle, and its last one has the rest of "
            "the second chain to go. On top of that come 8 cycles a leader between its two "
            "operations: resume, DSR loads and set-up"
        ),
    ),
    _case(
        "ring-all-reduce",
        "ring all-reduce in a row, 2(P−1)·B/P + 4P − 6 + 2(P−1)·(2·T_R + 1)",
        (
            "P blocks of B/P words go round twice; in a round a PE sends a block and receives one, "
            "both asynchronous, and a task that both release starts the next, whose operands are "
            "loaded already; until every PE has all sums"
        ),
        measure=_ring,
        points=_points(
            ring_cycles,
            lambda pes, words: 3 * pes * words + 10 * pes * pes,
            whole_blocks=True,
        ),
        kind=Kind.VALIDATION,
        basis=_SHARED,
        finding=(
            "the formula counts wavelets only. Blocks of many words take twice as long, because "
            "the data path does one element a cycle (M34): a word received and a word sent are 2 "
            "cycles. With blocks of few words a round is 34 cycles where the formula has 8: a task "
            "start, a branch, two issues, set-up, one hop, and what the main thread prepares "
            "meanwhile. A block has to be whole in memory before it goes on (all PEs send at once, "
            "and the fabric cannot hold their blocks), so rounds cannot be one stream"
        ),
    ),
)
