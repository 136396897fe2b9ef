"""Gradients that are added up: on the wafer where they lie there, on the host where others act."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on
from tests.pytorch.training.loops import batch, perceptron

PARTS, STEPS = 3, 2
FIDELITIES = [Fidelity.MODEL, pytest.param(Fidelity.FABRIC, marks=pytest.mark.slow)]


class Halves(nn.Module):
    """A weight of which each half is a layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(10, 6) / 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.weight.split(5)
        return functional.linear(x, first).relu() + functional.linear(x, second)


def scaled_between(model: nn.Module) -> None:
    """Change a gradient in a way that PyTorch counts."""
    next(model.parameters()).grad.mul_(0.5)


def edited_between(model: nn.Module) -> None:
    """Change one in a way that it does not count."""
    next(model.parameters()).grad.numpy()[0] += 1


def asked_between(model: nn.Module) -> None:
    """Ask for gradients that are added to none."""
    x, y = batch()
    loss = functional.cross_entropy(model(x), y)
    found = torch.autograd.grad(loss, [*model.parameters()])
    next(model.parameters()).grad.add_(found[0])


def some_between(model: nn.Module) -> None:
    """Go back to one parameter only."""
    x, y = batch()
    parameter = next(model.parameters())
    functional.cross_entropy(model(x), y).backward(inputs=[parameter])


def missing_between(model: nn.Module) -> None:
    next(model.parameters()).grad = None


def nothing_between(model: nn.Module) -> None:
    del model


BETWEEN = [scaled_between, edited_between, asked_between, some_between, missing_between]


def train(make=perceptron, between=nothing_between, *, prepare=nothing_between):
    """Return losses, gradients of each pass and parameters."""
    torch.manual_seed(0)
    model, seen = make(), list[torch.Tensor]()
    prepare(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(STEPS):
        optimizer.zero_grad()
        for part in range(PARTS):
            x, y = batch(5 - part)
            loss = functional.cross_entropy(model(x), y) / PARTS
            loss.backward()
            seen += [loss.detach(), *(p.grad.clone() for p in model.parameters())]
            if part == 1:
                between(model)
        optimizer.step()
    return [*seen, *(parameter.detach() for parameter in model.parameters())]


def run(fidelity: Fidelity, *loop, **options):
    """Compare what a loop gives without a wafer and with one; return the one program's report."""
    session = Session(WaferOptions(fidelity=fidelity, rectangle=(2, 1), simulate_budget=0))
    expected = train(*loop, **options)
    with run_on(session):
        found = train(*loop, **options)
    for one, other in zip(expected, found, strict=True):
        if fidelity is Fidelity.FABRIC:
            torch.testing.assert_close(other, one, rtol=1e-5, atol=2e-6)
        else:
            assert torch.equal(one, other)
    report = session.report(is_over=True)
    assert report.flop.share == 1
    (program,) = report.programs
    return program


@pytest.mark.parametrize("make", [perceptron, Halves])
@pytest.mark.parametrize("fidelity", [Fidelity.FABRIC, Fidelity.MODEL])
@pytest.mark.alternate
def test_gradients_stay_on_the_wafer_between_passes(make, fidelity):
    program = run(fidelity, make)
    assert program.parameters_resent == 0
    assert program.step.steps == STEPS
    assert program.step.samples == sum(5 - part for part in range(PARTS))


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.alternate(3)
def test_gradients_that_something_else_has_changed_are_sent(between, fidelity):
    program = run(fidelity, perceptron, between)
    if fidelity is Fidelity.FABRIC or between is not edited_between:  # the host's are not compared
        assert program.parameters_resent > 0


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_hooks_see_what_each_pass_adds(fidelity):
    def prepare(model: nn.Module) -> None:
        model[0].weight.register_hook(lambda gradient: gradient.clamp(-0.05, 0.05))

    assert run(fidelity, perceptron, prepare=prepare).parameters_resent > 0


@settings(max_examples=4, deadline=None)
@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=3))
def test_gradients_of_the_host_are_those_of_the_wafer_bit_for_bit(factors):
    """PyTorch adds a difference, which is rounded; then it gets what the wafer has."""
    model, session = nn.Linear(3, 2), Session(WaferOptions(fidelity=Fidelity.FABRIC))
    with run_on(session):
        for factor in factors:
            functional.mse_loss(model(torch.randn(1, 3)), torch.ones(1, 2)).mul(factor).backward()
            places = [(each, session.training.places.find(each)) for each in model.parameters()]
            arrays = {
                n: a for each, place in places for n, a in place.cut.arrays(each.grad).items()
            }
            program = places[0][1].program
            assert program.loaded.has({program.by_name[n]: a for n, a in arrays.items()})
    assert session.report(is_over=True).programs[0].parameters_resent == 0


def test_a_gradient_that_is_infinite_stays_so():
    model = nn.Linear(2, 1)
    with run_on(Session(WaferOptions(fidelity=Fidelity.FABRIC))):
        for _ in range(2):
            model(torch.full((1, 2), 3e38)).sum().backward()
    assert torch.equal(model.weight.grad, torch.full((1, 2), torch.inf))


def test_passes_in_inference_mode_are_launches():
    def take_step() -> list[torch.Tensor]:
        torch.manual_seed(0)
        model, (x, y) = perceptron(), batch()
        for _ in range(2):
            loss = functional.cross_entropy(model(x), y)
            with torch.inference_mode():
                loss.backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    session = Session(WaferOptions(fidelity=Fidelity.FABRIC, rectangle=(1, 1)))
    expected = take_step()
    with run_on(session):
        found = take_step()
    torch.testing.assert_close(found, expected)
    assert not [cause for cause in session.report(is_over=True).host if cause.calls]
