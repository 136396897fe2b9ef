"""The lines that a run prints: how much ran on the wafer, how fast, how sure."""

from dataclasses import replace

import pytest

from onewafer.execution.report import (
    EnergyReport,
    FastestReport,
    LaunchOrigins,
    LimitReport,
    SimulationReport,
)
from onewafer.perf import KnownError
from onewafer.pytorch import render
from onewafer.pytorch.report import Advice, AdviceKind
from onewafer.pytorch.report.values import OnSystem, Work
from tests.execution.program_reports import PROGRAM, shown
from tests.pytorch.test_report import GRADIENT, REPORT

H100 = OnSystem(
    system="h100x1",
    title="1 × H100 SXM",
    precision="bf16",
    seconds=20e-6,
    rows_per_second=3.2e6,
    joules=0.025,
    error=KnownError(0.069, 18, 0.208, 1_700_000_000),
)
WORK = Work(
    program=0,
    what="a pass over 64 samples",
    rows=64.0,
    seconds=60e-6,
    rows_per_second=64 / 60e-6,
    energy=EnergyReport("CS-3", 0.97, 1.2e-5),
    limit=LimitReport(0.62, 0.3, 0.08, "MLP", 0.8),
    num_pes=883_350,
    fastest=FastestReport(32, 16, 3.0),
    elsewhere=(H100,),
)
SIMULATION = SimulationReport(
    origins=LaunchOrigins(simulated=2, known=1, derived=9, closed_form=0),
    lowest_ratio=0.974,
    largest_ratio=1.011,
    depends_on=(),
    compared=2,
    other_bits=0,
    beyond_bound=0,
    distance=1e-7,
    not_simulated=None,
)
DERIVED = replace(PROGRAM, fidelity="auto", simulation=SIMULATION)
WORKED = replace(REPORT, host=(), programs=(DERIVED,), work=WORK)

LINES = """\
onewafer report
30% of the script's matrix FLOP ran on the wafer (600 k of 2 M).
speed     Sequential, a pass over 64 samples: 60 µs, 1,070,000 samples/s at 850 MHz. Energy: 12 µJ
          in the PEs used, 970 mJ in the whole CS-3
one H100  20 µs, 3,200,000 samples/s, 25 mJ in bf16: 3 times as fast as these 8 PEs. Never compared
          with published figures of models this small
limit     arithmetic, most of it MLP: 62% of the cycles; messages between PEs 30%, starting and
          ending launches 8%
PEs used  8 of 883,350 (0.0009%): 4×2, so few that each can be simulated. The fastest, 32×16, takes
          20 µs by formula
how sure  3 of 12 launches were simulated, 1 of them in an earlier run; 9 follow from them by a
          formula that was at most 2.7% off. The simulator is 4.4% off Cerebras' simulator (median
          of 40 published figures, none of a whole model)
all tables: onewafer run --verbose; explained: docs/reference/report.md
"""


def printed(report, width=300):
    return shown(render(report), width=width)


def test_a_run_is_a_few_lines():
    assert printed(WORKED, width=100) == LINES


def test_what_the_host_had_is_named_up_to_three_causes():
    causes = tuple(replace(GRADIENT, reason=f"reason {number}") for number in range(5))
    advice = (
        Advice(
            AdviceKind.NO_GRAD, "`torch.no_grad()` around x.py:1 would offer 8% more", (), 1, 0.1
        ),
        Advice(AdviceKind.OPERATIONS, "said above with its line", (), 1, 0.1),
    )
    lines = printed(replace(WORKED, host=causes, advice=advice)).splitlines()

    assert lines[2].startswith("on the host  460 × Sequential, digits.py:29: reason 0, 70% of")
    assert [line.split(": ")[-1] for line in lines[3:6]] == [
        "reason 1, 70% of the FLOP",
        "reason 2, 70% of the FLOP",
        "--verbose",
    ]
    assert lines[5].strip() == "and 2 more: --verbose"
    assert lines[6] == "to do        `torch.no_grad()` around x.py:1 would offer 8% more"
    assert "said above" not in printed(replace(WORKED, host=causes, advice=advice))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ((), "pip install 'onewafer[gpu]', and the next report prices the same work there"),
        ((replace(H100, seconds=None, refusal="no"),), "one H100  cannot: no"),
        (
            (replace(H100, is_compared=True),),
            "as these 8 PEs. ± 6.9%, the median of 18 published figures",
        ),
        ((replace(H100, error=None),), "Never compared with published figures\n"),
        (
            (replace(H100, system="h100x8", seconds=120e-6),),
            "h100x8    120 µs, 3,200,000 samples/s, 25 mJ in bf16: 2 times as slow as these 8 PEs",
        ),
    ],
)
def test_the_same_work_elsewhere(other, words):
    assert words in printed(replace(WORKED, work=replace(WORK, elsewhere=other)))


def with_program(**changes):
    return printed(replace(WORKED, programs=(replace(DERIVED, **changes),)))


def test_why_it_is_these_pes():
    pinned = replace(DERIVED.placement, is_pinned=True)
    best = replace(WORKED, work=replace(WORK, fastest=FastestReport(4, 2, 1.0)))

    assert "8 of 883,350 (0.0009%): 4×2, as you asked. " in with_program(placement=pinned)
    assert "the smallest tried that the model fits. " in with_program(width=32, height=32)
    assert "No other rectangle is faster, by formula" in printed(best)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"simulation": None, "fidelity": "fabric", "profile": "silicon"},
            "All launches were simulated. The simulator is 4.7% off a real CS-2 or CS-3 (median of",
        ),
        (
            {"simulation": None, "fidelity": "model"},
            "No launch was simulated: cycles come from a formula, at most 1.4% off in 30 others. ",
        ),
        (
            {"simulation": replace(SIMULATION, origins=LaunchOrigins(2, 1, 0, 0))},
            "All 3 launches were simulated, 1 of them in an earlier run. The simulator is",
        ),
        (
            {"simulation": replace(SIMULATION, origins=LaunchOrigins(1, 0, 0, 0))},
            "The only launch was simulated. The simulator is",
        ),
        (
            {
                "simulation": replace(
                    SIMULATION,
                    origins=LaunchOrigins(simulated=1, known=0, derived=0, closed_form=7),
                    not_simulated="too long; `--simulate-budget 14M` would do",
                )
            },
            (
                "1 of 8 launches was simulated. 7 of 8 launches come from a formula alone, at most "
                "1.4% off in 30 others: too long; `--simulate-budget 14M` would do. The simulator"
            ),
        ),
    ],
)
def test_how_sure_the_cycles_are(changes, words):
    assert f"how sure  {words}" in with_program(**changes)


def test_shares_by_formula_are_said_to_be():
    unmeasured = replace(WORK, limit=LimitReport(0.2, 0.7, 0.1, "other", None))

    assert (
        "limit     messages between PEs: 70% of the cycles by formula; arithmetic 20%, starting and"
    ) in printed(replace(WORKED, work=unmeasured))


def test_what_must_not_be_overlooked_comes_first():
    wrong = replace(DERIVED, simulation=replace(SIMULATION, other_bits=1), not_finite="inf at z")
    lines = printed(replace(WORKED, ended="Ctrl-C", programs=(wrong,))).splitlines()

    assert lines[1] == "The run ended early (Ctrl-C); this is what is known so far."
    assert lines[2].startswith("Sequential: WRONG, please report it: of 2 launches, 1 with other")
    assert lines[3] == "Sequential: inf at z"
