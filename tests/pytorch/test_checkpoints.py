"""`checkpoint` inside a module that trains: what is computed again is on the wafer already."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on
from onewafer.pytorch.call_checks import asks_for_gradient


class Nested(nn.Module):
    """A checkpoint with several results and one inside it, and another one of the same code."""

    def __init__(self) -> None:
        super().__init__()
        self.outer, self.inner, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4)
        self.dropout = nn.Dropout(0.3)

    def again(self, x: torch.Tensor, factor: float) -> tuple[torch.Tensor, torch.Tensor]:
        def inside(x: torch.Tensor) -> torch.Tensor:
            return self.dropout(self.inner(x)).relu()

        hidden = self.outer(x).tanh()
        return checkpoint(inside, hidden, use_reentrant=False) * factor, hidden

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for factor in (2.0, 0.5):
            one, other = checkpoint(self.again, x, factor, use_reentrant=False)
            x = one + other
        return self.last(x)


def train(model: nn.Module) -> list[torch.Tensor]:
    optimizer, seen = torch.optim.AdamW(model.parameters(), lr=0.05), []
    for _ in range(2):
        x = torch.randn(3, 6)
        loss = nn.functional.cross_entropy(model(x), torch.tensor([0, 3, 1]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.detach())
    return [*seen, *(parameter.detach().clone() for parameter in model.parameters())]


def run(make, fidelity=Fidelity.MODEL):
    """Return what steps give without a wafer and with one, and the report."""
    session = Session(WaferOptions(fidelity=fidelity, rectangle=(2, 1), simulate_budget=0))
    torch.manual_seed(0)
    expected = [*train(make()), torch.rand(1)]
    torch.manual_seed(0)
    with run_on(session):
        found = [*train(make()), torch.rand(1)]
    return expected, found, session.report(is_over=True)


@pytest.mark.parametrize(
    "fidelity", [Fidelity.MODEL, pytest.param(Fidelity.FABRIC, marks=pytest.mark.slow)]
)
def test_nested_checkpoints_train_as_one_program(fidelity):
    expected, found, report = run(Nested, fidelity)
    for one, other in zip(expected, found, strict=True):
        if fidelity is Fidelity.MODEL:
            assert torch.equal(other, one)
        else:
            torch.testing.assert_close(other, one, rtol=2e-5, atol=3e-6)
    assert report.flop.share == 1
    assert not report.host
    assert len(report.programs) == 1


def test_a_reentrant_checkpoint_leaves_parameters_without_gradients_as_in_pytorch():
    class Reentrant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(checkpoint(self.first, x, use_reentrant=True))

    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        expected, found, report = run(Reentrant)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one)
    assert "`checkpoint` with `use_reentrant=True`" in report.host[0].reason


def test_hooks_that_ask_for_a_gradient_are_known():
    seen = []

    def asks(_module: nn.Module, _args: object, result: torch.Tensor) -> None:
        result.requires_grad_(True)  # noqa: FBT003  # as libraries write it

    def looks(_module: nn.Module, _args: object, result: torch.Tensor) -> None:
        seen.append(result.requires_grad_(True))  # noqa: FBT003

    def stops(_module: nn.Module, _args: object, result: torch.Tensor) -> None:
        result.requires_grad_(False)  # noqa: FBT003

    assert [*map(asks_for_gradient, (asks, looks, stops, print))] == [True, False, False, False]

    def make(hook=asks) -> nn.Module:
        model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 4))
        model[0].register_forward_hook(hook)
        return model

    expected, found, report = run(make)
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
    assert report.flop.share == 1
    assert not report.host
