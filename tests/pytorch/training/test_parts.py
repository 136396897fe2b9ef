"""What runs on the wafer of a training step whose module it refuses as a whole."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on
from onewafer.pytorch.host_work import Cause
from tests.pytorch.training.part_loops import PART_LOOPS, Refused, chain, steps

SINE, AROUND = "`sin` is not supported on the wafer", "hooks of saved tensors"
BACK, HERE = "has backward hooks", "the module has forward hooks"
NODES = "has a hook by `register_backward_hook`"
REASONS = {
    "full_hooks": {BACK},
    "old_hooks": {NODES},
    "forward_hooks": {HERE},
    "checkpointed": {SINE, AROUND},
    "checkpointed_with_dropout": {SINE, AROUND},
    "checkpointed_anew": {"`checkpoint` with `use_reentrant=True`"},
    "own_function": {"`clamp` is not supported on the wafer"},
}
"""Loops in which the wafer refuses something else than a sine → words of the reasons."""
LESS = {"full_hooks", "old_hooks", "forward_hooks", "checkpointed", "checkpointed_with_dropout"}
"""Loops of which the host multiplies some of the matrices."""
EVALUATED = {"without_gradient", "frozen_first", "checkpointed_anew"}
"""Loops with calls that need no gradient, whose values are computed operation by operation."""


def run(loop, fidelity: Fidelity, **options):
    """Return what a loop gives without a wafer and with one, and the report."""
    chosen = WaferOptions(fidelity=fidelity, rectangle=(2, 1), simulate_budget=0, **options)
    session = Session(chosen)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hooks of a kind that is deprecated
        expected = loop()
        torch.manual_seed(0)
        with run_on(session):
            found = loop()
    assert len(found) == len(expected)
    return expected, found, session.report(is_over=True)


def check_report(name: str, report) -> None:
    reasons = [cause.reason for cause in report.host if cause.cause is not Cause.BACKWARD]
    wanted = REASONS.get(name, {SINE})
    assert all(any(words in reason for words in wanted) for reason in reasons)
    assert all(any(words in reason for reason in reasons) for words in wanted)
    assert (report.flop.share < 1) is (name in LESS)
    assert all(calls.whole == "Refused" for calls in report.inner_calls)
    assert bool(report.inner_calls) is (name != "old_hooks")


def check_on_host(name: str) -> None:
    expected, found, report = run(PART_LOOPS[name], Fidelity.MODEL)
    for one, other in zip(expected, found, strict=True):
        if name in EVALUATED:
            torch.testing.assert_close(other, one)
        else:
            assert torch.equal(one, other)
    check_report(name, report)


USUAL_ON_HOST = (
    *("changed_argument", "dropout", "many_results", "old_hooks"),
    *("checkpointed", "loss_inside", "frozen"),
)


@pytest.mark.parametrize("name", USUAL_ON_HOST)
def test_values_of_the_host_are_those_of_plain_python(name):
    check_on_host(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PART_LOOPS if name not in USUAL_ON_HOST])
def test_values_of_the_host_are_those_of_plain_python_in_other_loops_too(name):
    check_on_host(name)


def check_on_fabric(name: str) -> None:
    expected, found, report = run(PART_LOOPS[name], Fidelity.FABRIC)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=2e-5, atol=1e-5)
    check_report(name, report)


def test_values_of_the_fabric_are_near_those_of_plain_python():
    check_on_fabric("three_times")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PART_LOOPS if name != "three_times"])
def test_values_of_the_fabric_are_near_in_other_loops_too(name):
    check_on_fabric(name)


def test_parts_are_counted_by_their_names_and_phases():
    report = run(lambda: steps(chain(), clips=True), Fidelity.MODEL)[2]
    assert {(c.module, c.whole, c.calls) for c in report.inner_calls} == {
        ("Sequential", "Refused", 2),
        ("Linear", "Refused", 2),
    }
    (cause,) = report.host
    assert (cause.module, cause.calls, cause.nested_calls, cause.flop) == ("Refused", 2, 0, 0)
    assert [program.step.steps for program in report.programs] == [2, 2]
    assert report.flop.on_wafer == report.flop.total
    assert report.flop.total == 2 * 3 * 2 * 3 * (6 * 5 + 5 * 4)  # steps, passes, FLOP, rows


def test_a_part_that_is_called_three_times_is_launched_again_for_two_of_them():
    report = run(PART_LOOPS["three_times"], Fidelity.MODEL)[2]
    assert [program.step.repeated for program in report.programs] == [4, 0]


def test_strict_stops_no_training_call_whatever_is_frozen_in_it():
    def loop():
        frozen = nn.Sequential(nn.Linear(6, 6), Refused(lambda _, x: torch.sin(x)))
        frozen.requires_grad_(requires_grad=False)
        return steps(Refused(lambda m, x: m.b(m.a(x.detach())), a=frozen, b=nn.Linear(6, 4)))

    report = run(loop, Fidelity.MODEL, strict=True)[2]
    assert report.flop.share == 1
