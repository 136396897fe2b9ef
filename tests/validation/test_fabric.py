"""The published cases: that they are complete, and what their smallest points give."""

from pathlib import Path

import pytest

from onewafer.arch import catalog_entries, load_architecture
from onewafer.errors import ConfigurationError
from onewafer.known_answers import WrongResultError
from onewafer.validation import FABRIC_CASES, Bench, Kind, run_case, select_cases
from onewafer.validation.collectives import (
    broadcast_cycles,
    chain_cycles,
    ring_cycles,
    star_cycles,
    two_phase_cycles,
)
from onewafer.validation.kernels import matvec_cycles

BENCH = Bench("reference")
EXPECTED_HITS = {
    "hop",
    "hop-sdk",
    "wavelet",
    "wavelet-sdk",
    "dsd-rate",
    "dsd-rate-sdk",
    "reduction-sdk",
    "send-receive-sdk",
    "completion-task-sdk",
    "broadcast",
    "star-reduce",
    "link-contention",
    "dsd-setup",
    "bank-conflict",
    "bank-conflict-sdk",
    "vector-multiply-wse2",
    "relay-stage-sdk",
    "one-word-operation",
    "chain-reduce",
}
"""Cases whose smallest point is within the target; others may become hits, these may not miss."""


def smallest(case):
    return min(case.points, key=lambda point: point.work)


@pytest.mark.parametrize("case", FABRIC_CASES, ids=lambda case: case.name)
@pytest.mark.alternate(4)
def test_smallest_point_of_every_case_runs(case):
    point = smallest(case)
    bench = BENCH if point.work <= BENCH.largest_work else Bench("fast")
    ours = case.measure(bench, *point.sizes)
    assert ours >= 0
    if case.name in EXPECTED_HITS:
        assert case.target.allows(ours, point.theirs)


def test_names_are_unique_and_every_case_says_what_it_is():
    assert len({case.name for case in FABRIC_CASES}) == len(FABRIC_CASES)
    for case in FABRIC_CASES:
        load_architecture(case.machine, profile=case.profile)
        assert case.rule
        assert case.basis
        assert case.source
        assert case.points


def test_calibration_names_the_constants_that_it_gave():
    for case in FABRIC_CASES:
        if case.kind is Kind.VALIDATION:
            continue
        entries = catalog_entries(case.machine, profile=case.profile)
        fields = {part for entry in entries for part in entry.path.split(".")}
        assert fields & set(case.basis.replace(",", " ").split()) or "rate of" in case.basis


def test_every_miss_of_a_full_run_has_a_finding():
    for case in FABRIC_CASES:
        if case.name not in EXPECTED_HITS:
            assert case.finding


def test_line_multicast_is_exact_but_for_one_constant():
    """20 + 9·K/32 + (N−1): K and N as published, the intercept not; see its finding."""
    (case,) = select_cases(["line-multicast"])
    points = [p for p in case.points if p.sizes in {(64, 16), (64, 64), (256, 16), (1024, 16)}]
    differences = {case.measure(BENCH, *point.sizes) - point.theirs for point in points}
    assert len(differences) == 1


def test_a_program_with_a_wrong_result_has_no_time():
    run = BENCH.run("chain", "wse2", "silicon", params={"num_pes": 4, "num_words": 2})
    run.expect("values", 3, value=4.0)
    with pytest.raises(
        WrongResultError, match=r"'values'\[0\] of PE \(3, 0\) is 4.0, NumPy computes 5.0"
    ):
        run.expect("values", 3, value=5.0)
    with pytest.raises(WrongResultError, match=r"'sum of values'\[0\] of PE \(3, 0\) is 8.0"):
        run.expect_total("values", 3, value=9.0)


def test_page_of_the_manual_has_every_case():
    """Figures move with the compiler; rules and names on the page may not be stale."""
    page = (Path(__file__).parents[2] / "docs/explanation/validation.md").read_text(
        encoding="utf-8"
    )
    for case in FABRIC_CASES:
        assert f"\n| `{case.name}` | {case.quantity} ({case.unit}) | {case.rule} |" in page


def test_selection_keeps_the_order_of_the_table():
    assert [case.name for case in select_cases(["summa-step", "hop"])] == ["hop", "summa-step"]
    assert select_cases([]) == FABRIC_CASES


def test_unknown_name_lists_the_names():
    with pytest.raises(ConfigurationError) as error:
        select_cases(["hops"])
    message = str(error.value)
    assert message.startswith("there is no case 'hops'; the cases are:\n  line-multicast\n")
    assert all(f"\n  {case.name}" in message for case in FABRIC_CASES)


def test_formulas():
    """Worked by hand from the published forms, T_R = 2."""
    assert broadcast_cycles(4, 1) == 9
    assert star_cycles(4, 16) == 53
    assert chain_cycles(4, 16) == 34
    assert two_phase_cycles(64, 4096) == 8192 + 70
    assert two_phase_cycles(64, 1) == pytest.approx(112 / 63 + 63 + 70)
    assert ring_cycles(4, 4096) == 6144 + 10 + 30
    assert matvec_cycles(10) == pytest.approx(120 + 10.75 + 36.7)


def test_smallest_case_within_target_is_a_hit():
    (case,) = select_cases(["send-receive-sdk"])
    result = run_case(case, BENCH)
    assert result.is_hit
    assert result.worst.ours == 19
