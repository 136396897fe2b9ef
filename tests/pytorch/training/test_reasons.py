"""Why the host computed what it did in a backward pass: each way of it, with its reason."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from onewafer.errors import Refusal
from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on
from onewafer.pytorch.host_work import Cause, HostLedger, next_node

ROWS = 4
OUTSIDE = "backward pass of what is computed outside of modules"
ON_HOST = "backward pass of what ran on the host: "


class Refused(nn.Module):
    """A module with an operation that the wafer does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x @ self.weight)


class Similarity(nn.Module):
    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return one @ other.T


def batch() -> torch.Tensor:
    return torch.randn(ROWS, 3)


def outside():
    net = nn.Linear(3, 3)
    for _ in range(2):
        (net(batch()) @ torch.randn(3, 2)).sum().backward()


def refused():
    (net, other) = Refused(), nn.Linear(3, 3)
    for _ in range(2):
        (net(batch()).sum() + other(batch()).sum()).backward()


def without_parameters():
    net = nn.Linear(3, 3)
    functional.cross_entropy(
        Similarity()(net(batch()), net(batch())), torch.arange(ROWS)
    ).backward()


def otherwise():
    """Steps of one call, and then one in which two calls go back together."""
    net = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for index in range(6):
        optimizer.zero_grad()
        loss = net(batch()).square().mean()
        if index == 5:
            loss = loss + net(batch()).square().mean()
        loss.backward()
        optimizer.step()


def again():
    net, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), batch().requires_grad_()
    (gradient,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    gradient.square().sum().backward()


@pytest.mark.parametrize(
    ("train", "reasons"),
    [
        (outside, {OUTSIDE}),
        (refused, {f"{ON_HOST}`sin` is not supported on the wafer"}),
        (without_parameters, {f"{ON_HOST}the module has no parameters to train"}),
        (otherwise, {f"{ON_HOST}the step began like those before it"}),
        (again, {f"{ON_HOST}gradients of gradients (`create_graph`)"}),
    ],
)
def test_a_backward_pass_of_the_host_says_why(train, reasons):
    session = Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(2, 1), simulate_budget=0))
    with run_on(session):
        train()
    report = session.report(is_over=True)
    found = {cause.reason for cause in report.host if cause.cause is Cause.BACKWARD}
    assert len(found) == len(reasons)
    assert all(any(one.startswith(reason) for one in found) for reason in reasons), found


def test_nodes_of_a_call_inside_another_one_have_its_reason():
    host, x = HostLedger(), batch().requires_grad_()
    host.counts_flop = True
    outer, inner = Refusal("outer"), Refusal("inner")
    results, first = [x * 1], next_node()
    with host.recording(outer):
        results.append(x * 2)
        with host.recording(inner):
            results.append(x * 3)
        results.append(x * 4)
    results.append(x * 5)
    host.note_nodes(first, outer, first - 1)  # none
    for result in results:
        result.grad_fn.register_hook(lambda *_: host.add_flop(1))
        result.sum().backward()
    works = {task.refusal: work.flop for task, work in host.of(Cause.BACKWARD)}
    assert works == {None: 2, outer: 2, inner: 1}


def test_sequences_whose_tokens_come_first_are_refused_with_what_to_write():
    net = nn.MultiheadAttention(4, 2)

    def attend(sequences: int) -> tuple[str, ...]:
        session = Session(
            WaferOptions(fidelity=Fidelity.MODEL, rectangle=(2, 1), simulate_budget=0)
        )
        with run_on(session), torch.no_grad():
            x = torch.randn(3, sequences, 4)
            net(x, x, x, need_weights=False)
        return (*(cause.reason for cause in session.report(is_over=True).host),)

    assert attend(1) == ()
    (reason,) = attend(2)
    assert "samples and tokens change places" in reason
    assert "use `batch_first=True`" in reason
