"""Batches that do not fit a launch: parts of them are launched one after the other."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on
from onewafer.pytorch.host_work import Cause

CLASSES, SIDE = 3, 12


class Network(nn.Module):
    """A network of pictures, with dropout; it takes the loss if it has targets."""

    def __init__(self, *, is_normalised: bool = False) -> None:
        super().__init__()
        norm = nn.BatchNorm2d(6) if is_normalised else nn.Dropout(0.2)
        self.layers = nn.Sequential(
            *(nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), norm, nn.Conv2d(6, 4, 3, stride=2)),
            *(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, CLASSES)),
        )

    def forward(self, x: torch.Tensor, targets: torch.Tensor | None = None) -> torch.Tensor:
        found = self.layers(x)
        return found if targets is None else functional.cross_entropy(found, targets)


def outside(model, x, targets):
    return functional.cross_entropy(model(x), targets)


def inside(model, x, targets):
    return model(x, targets)


def train(take_loss, samples=(12, 12, 9), **options) -> list[torch.Tensor]:
    """Return losses, gradients of pictures, what is drawn, and an evaluation and parameters."""
    torch.manual_seed(0)
    model, seen = Network(**options), list[torch.Tensor]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for count in samples:
        x = torch.randn(count, 2, SIDE, SIDE, requires_grad=True)
        loss = take_loss(model, x, torch.randint(CLASSES, (count,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen += [loss.detach(), x.grad, torch.rand(1)]
    model.eval()
    with torch.no_grad():
        seen.append(model(x))
    return [*seen, *(parameter.detach() for parameter in model.parameters())]


def run(fidelity: Fidelity, *loop, rectangle=(2, 1), simulate_budget=0, **options):
    """Return what a loop gives without a wafer and with one, and the report."""
    wafer = WaferOptions(fidelity=fidelity, rectangle=rectangle, simulate_budget=simulate_budget)
    session = Session(wafer)
    expected = train(*loop, **options)
    with run_on(session):
        found = train(*loop, **options)
    return expected, found, session.report(is_over=True)


def check(
    expected: list[torch.Tensor],
    found: list[torch.Tensor],
    *,
    is_exact: bool,
    evaluation: int = 9,
) -> None:
    """Compare what a loop gives; `model` evaluates what the host trains operation by operation."""
    for place, (one, other) in enumerate(zip(expected, found, strict=True)):
        if is_exact and place != evaluation:
            assert torch.equal(one, other)
        else:
            torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("take_loss", [inside, outside])
@pytest.mark.parametrize("fidelity", [Fidelity.MODEL, Fidelity.FABRIC])
@pytest.mark.alternate(3)
def test_parts_of_a_batch_are_launched_one_after_the_other(take_loss, fidelity):
    expected, found, report = run(fidelity, take_loss)
    check(expected, found, is_exact=fidelity is Fidelity.MODEL)
    assert not [work for work in report.host if work.cause is not Cause.BACKWARD]
    assert report.flop.share == 1
    program = max(report.programs, key=lambda one: one.step.steps if one.step else 0)
    assert ("taking the loss of a batch of several launches" in program.on_host) is (
        take_loss is outside
    )
    assert program.step.repeated >= program.step.steps
    assert program.step.samples == pytest.approx(11)


@pytest.mark.slow
def test_a_norm_of_a_batch_that_does_not_fit_is_the_host_s():
    expected, found, report = run(Fidelity.MODEL, outside, is_normalised=True)
    check(expected, found, is_exact=True)
    (work, *_) = (one for one in report.host if one.cause is Cause.GRADIENT)
    assert "several launches: BatchNorm is of all samples of a batch" in work.reason


@pytest.mark.parametrize(
    "fidelity", [Fidelity.MODEL, pytest.param(Fidelity.FABRIC, marks=pytest.mark.slow)]
)
def test_a_batch_that_a_norm_joins_lies_in_groups_of_pes(fidelity):
    expected, found, report = run(
        fidelity, outside, samples=(12, 12), rectangle=(2, 8), is_normalised=True
    )
    check(expected, found, is_exact=fidelity is Fidelity.MODEL, evaluation=6)
    check_groups(report)


@pytest.mark.parametrize(
    ("take_loss", "fidelity", "budget"),
    [
        pytest.param(outside, Fidelity.MODEL, 0),
        pytest.param(inside, Fidelity.AUTO, 1_000_000, marks=pytest.mark.slow),
        pytest.param(outside, Fidelity.FABRIC, 0, marks=pytest.mark.slow),
        pytest.param(inside, Fidelity.FABRIC, 0, marks=pytest.mark.slow),
    ],
)
def test_pictures_lie_in_groups_of_pes(take_loss, fidelity, budget):
    """The last batch has fewer: some groups have less than the others, or nothing."""
    expected, found, report = run(
        fidelity, take_loss, samples=(12, 12, 5), rectangle=(2, 8), simulate_budget=budget
    )
    check(expected, found, is_exact=fidelity is not Fidelity.FABRIC)
    check_groups(report)


def check_groups(report) -> None:
    """Check that all that a script trains is on groups of PEs."""
    assert not report.host
    assert report.flop.share == 1
    program = max(report.programs, key=lambda one: one.step.steps if one.step else 0)
    assert program.placement.sample_groups > 1
