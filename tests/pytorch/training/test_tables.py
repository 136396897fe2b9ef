"""Tables that rows are looked up in, with a row that gets no gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on

PADDING, WORDS, FEATURES = 5, 7, 6
"""The padding is on the second of two rows of PEs, and neither the first nor the last there."""


class Words(nn.Module):
    """A table with a row for padding, and a head that may be the same table."""

    def __init__(self, *, is_tied: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(WORDS, FEATURES, padding_idx=PADDING)
        self.head = nn.Linear(FEATURES, WORDS)
        if is_tied:
            self.head.weight = self.table.weight

    def forward(self, ids):
        return self.head(self.table(ids))


def train(*, is_tied: bool) -> list[torch.Tensor]:
    """Return the gradients of the table in each step, and the table."""
    torch.manual_seed(0)
    model = Words(is_tied=is_tied)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    seen: list[torch.Tensor] = []
    for ids in torch.tensor([[5, 1, 5, 6], [0, 5, 4, 4]]):
        optimizer.zero_grad()
        functional.cross_entropy(model(ids), (ids + 1) % WORDS).backward()
        optimizer.step()
        seen.append(model.table.weight.grad.clone())
    return [*seen, model.table.weight.detach()]


@pytest.mark.parametrize("is_tied", [False, True])
@pytest.mark.alternate
def test_padding_has_the_gradient_of_plain_python(is_tied):
    session = Session(WaferOptions(fidelity=Fidelity.FABRIC, rectangle=(2, 2)))
    expected = train(is_tied=is_tied)
    with run_on(session):
        found = train(is_tied=is_tied)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-7)
        assert bool(other[PADDING].any()) is is_tied  # the head gives it one
    assert session.report(is_over=True).flop.share == 1


@pytest.mark.slow
def test_the_reader_has_the_bits_of_the_fabric():
    session = Session(WaferOptions(fidelity=Fidelity.AUTO, rectangle=(2, 2)))
    with run_on(session):
        train(is_tied=False)
    (program,) = session.report(is_over=True).programs
    assert program.simulation.compared > 0
    assert program.simulation.other_bits == 0


@pytest.mark.parametrize("option", ["scale_grad_by_freq", "sparse"])
def test_other_gradients_of_tables_are_those_of_the_host(option):
    def step() -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Embedding(WORDS, FEATURES, **{option: True}), nn.Linear(FEATURES, 1)
        )
        model(torch.tensor([2, 1, 2])).sum().backward()
        return model[0].weight.grad.to_dense()

    expected = step()
    with run_on(Session(WaferOptions(fidelity=Fidelity.FABRIC, rectangle=(1, 1)))):
        found = step()
    torch.testing.assert_close(found, expected)
