"""What a progress line says of a training loop."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.nn import functional

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on


class Lines:
    """An observer that keeps what would be shown."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    @contextmanager
    def compiling(self, what: str):
        del what
        yield

    @contextmanager
    def simulating(self, what: str, expected_cycles: int):
        del expected_cycles
        self.seen.append(what)
        yield None

    def training(self, say) -> None:
        self.seen.append(say())


def test_launches_are_of_a_step_with_the_last_loss_and_the_rate_of_the_last_step():
    lines = Lines()
    options = WaferOptions(fidelity=Fidelity.FABRIC, rectangle=(1, 1))
    model, losses = nn.Linear(2, 2), list[float]()
    session = Session(options, observer=lines)
    with run_on(session):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            loss = functional.cross_entropy(model(torch.ones(1, 2)), torch.tensor([1]))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert lines.seen[0] == "Linear, 1 row on 1×1 PEs"
    (program,) = session.report(is_over=True).programs
    rate = program.step.samples_per_second  # of all steps, which are alike but for the first
    begin, _, shown = lines.seen[-1].rpartition(", ")
    assert begin == f"{lines.seen[0]}, step 3, loss {losses[1]:.4g}"
    assert shown.endswith(" samples/s")
    assert float(shown.split()[0].replace(",", "")) == pytest.approx(rate, rel=0.05)


@pytest.mark.parametrize("fidelity", [Fidelity.AUTO, Fidelity.MODEL])
@pytest.mark.parametrize("inside", [False, True])
def test_each_step_is_shown_where_the_host_has_the_values(fidelity, inside):
    lines, losses = Lines(), list[float]()
    model = nn.Linear(2, 2)

    class WithLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x, y):
            return functional.cross_entropy(self.inner(x), y)

    whole, x, y = WithLoss(), torch.ones(1, 2), torch.tensor([1])
    options = WaferOptions(fidelity=fidelity, simulate_budget=0, rectangle=(1, 1))
    session = Session(options, observer=lines)
    with run_on(session):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(8):
            optimizer.zero_grad()
            loss = whole(x, y) if inside else functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert session.training.repeats.num_repeated >= 4
    shown = [line for line in lines.seen if "step" in line]
    assert len(shown) == 8
    rate = session.report(is_over=True).programs[0].step.samples_per_second
    name = "WithLoss" if inside else "Linear"
    for number, (line, loss) in enumerate(zip(shown, losses, strict=True), start=1):
        words = f"{name}, 1 row on 1×1 PEs, step {number}"
        assert line.startswith(words)
        assert inside or f"{words}, loss {loss:.4g}, " in line
        assert number < 5 or f"loss {loss:.4g}" in line  # repeated ones have each loss
        assert float(line.split()[-2].replace(",", "")) == pytest.approx(rate, rel=0.05)
