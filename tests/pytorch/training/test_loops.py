"""Training loops of many kinds: in every fidelity a script sees the values of plain Python."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from onewafer.execution import Phase
from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on
from onewafer.pytorch.host_work import Cause
from tests.pytorch.training.loops import LOOPS

ON_HOST = {"checkpointed"}
"""Loops of which the wafer trains nothing, nor parts of the module."""
REFUSED = {
    "amsgrad": "`amsgrad` is not supported",
    "another_optimizer": "the optimizer RMSprop is not supported",
    "one_of_two_optimizers": "the optimizer Adagrad is not supported",
    "twice_differentiated": "gradients of gradients (`create_graph`)",
    "loss_twice_differentiated": "gradients of gradients (`create_graph`)",
    "checkpointed": "hooks of saved tensors",
    "detached": "`detach` stops a gradient inside the module",
    "loss_times_a_result": "a loss that is multiplied by a result of a layer is not supported",
    "dropout_twice_differentiated": "gradients of gradients (`create_graph`)",
    "cumulative": "Dynamo cannot read its code",
    "normalised_twice": "a batch norm that a call comes to twice",
    "normalised_twice_differentiated": "gradients of gradients (`create_graph`)",
    "asked": "the step of a closure is not supported",
    "one_clipped": "only some of the gradients of a program are clipped",
    "some_clipped": "only some of the gradients of a program are clipped",
    "sum_clipped": "weights on the wafer are computed from several parameters that are clipped",
    "largest_clipped": "the norm of order inf is not supported",
}
"""Loops of which the wafer refuses a part → the reason in the report."""
INEXACT = {
    *("loss_twice_differentiated", "normalised_twice_differentiated"),
    *("evaluated_with_labels", "normalised", "cumulative"),
}
"""Loops in which gradients are added up in another order, or results have no gradient."""

DIVIDES_BY_SMALL = {"another_optimizer": 5e-5, "one_of_two_optimizers": 5e-5}
"""Loops whose steps divide by roots of gradients near 0 → how far parameters may be apart."""


def run(name: str, fidelity: Fidelity):
    """Return what a loop gives without a wafer and with one, and the report."""
    options = WaferOptions(fidelity=fidelity, rectangle=(2, 1), simulate_budget=0)
    session = Session(options)
    torch.manual_seed(0)
    expected = LOOPS[name]()
    torch.manual_seed(0)
    with run_on(session):
        found = LOOPS[name]()
    return expected, found, session.report(is_over=True)


def check_report(name: str, report) -> None:
    """Compare what ran where with what should."""
    assert (report.wafer_calls == 0) is (name in ON_HOST)
    reasons = [cause.reason for cause in report.host if cause.cause is not Cause.BACKWARD]
    if name in REFUSED:
        assert any(REFUSED[name] in reason for reason in reasons)
    else:
        assert not reasons
        assert report.flop.share == 1


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.alternate(6)
def test_values_of_the_host_are_those_of_plain_python(name):
    expected, found, report = run(name, Fidelity.MODEL)
    for one, other in zip(expected, found, strict=True):
        if name in INEXACT:
            torch.testing.assert_close(other, one)
        else:
            assert torch.equal(one, other)
    check_report(name, report)


def check_on_fabric(name: str) -> None:
    expected, found, report = run(name, Fidelity.FABRIC)
    farthest = DIVIDES_BY_SMALL.get(name, 3e-6)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=2e-5, atol=farthest)
    check_report(name, report)


USUAL = (
    *("accumulate_and_clip", "adversaries", "edit", "hooks", "saved_and_loaded", "two_losses"),
    *("dropout_of_views", "dropout_and_evaluation", "dropout_retained"),
    *("norm_clipped", "no_number_clipped", "cross_entropy_inside"),
    *("binary", "likelihood_outside", "evaluated_with_labels"),
    *("divergence_inside", "smooth", "loss_times_a_loss", "two_optimizers"),
)


@pytest.mark.parametrize("name", USUAL)
@pytest.mark.alternate(6)
def test_values_of_the_fabric_are_near_those_of_plain_python(name):
    check_on_fabric(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LOOPS if name not in USUAL])
def test_values_of_the_fabric_are_near_in_other_loops_too(name):
    check_on_fabric(name)


@pytest.mark.parametrize("fidelity", [Fidelity.MODEL, Fidelity.FABRIC])
@pytest.mark.alternate
def test_evaluation_between_steps_with_dropout_is_of_the_same_program(fidelity):
    report = run("dropout_and_evaluation", fidelity)[2]
    (program,) = report.programs
    assert program.parameters_resent == 0
    assert program.on_host == ("drawing what dropout keeps",)


def test_statistics_of_batches_leave_the_first_loss_to_be_guessed():
    normed = nn.Sequential(nn.Linear(6, 4, bias=False), nn.BatchNorm1d(4))
    session = Session(WaferOptions(fidelity=Fidelity.FABRIC, rectangle=(2, 1)))
    with run_on(session):
        functional.cross_entropy(normed(torch.randn(4, 6)), torch.arange(4)).backward()
    (program,) = session.report(is_over=True).programs
    assert {phase.phase: phase.calls for phase in program.phases if phase.phase.trains} == {
        Phase.FORWARD: 1,
        Phase.LOSS: 1,
        Phase.BACKWARD: 1,
    }
