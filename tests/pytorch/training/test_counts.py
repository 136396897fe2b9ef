"""Loops that call one network several times before a backward pass: counts derived by hand."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on

STEPS, ROWS = 4, 5
NOISE, DATA, HIDDEN = 3, 4, 6


def adversaries():
    """A GAN as in PyTorch's example, its judge called for real and fake data in one loss."""
    maker = nn.Sequential(nn.Linear(NOISE, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, DATA))
    judge = nn.Sequential(nn.Linear(DATA, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
    of_maker, of_judge = (torch.optim.Adam(net.parameters(), lr=0.01) for net in (maker, judge))
    take_loss, ones, zeros = nn.BCEWithLogitsLoss(), torch.ones(ROWS, 1), torch.zeros(ROWS, 1)
    for _ in range(STEPS):
        fake = maker(torch.randn(ROWS, NOISE))
        of_judge.zero_grad()
        real = take_loss(judge(torch.randn(ROWS, DATA)), ones)
        (real + take_loss(judge(fake.detach()), zeros)).backward()
        of_judge.step()
        of_maker.zero_grad()
        take_loss(judge(fake), ones).backward()
        of_maker.step()


def contrast(one, other):
    return functional.cross_entropy(one @ other.T, torch.arange(ROWS))


def margin(one, other):
    return (one - other).square().sum(1).clamp(min=0.1).mean()


def twins(take_loss):
    """Return a loop in which two batches go through one network, and one loss compares them."""

    def train():
        net = nn.Sequential(nn.Linear(DATA, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 3))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        for _ in range(STEPS):
            optimizer.zero_grad()
            one, other = net(torch.randn(ROWS, DATA)), net(torch.randn(ROWS, DATA))
            take_loss(one, other).backward()
            optimizer.step()

    return train


def run(train, fidelity):
    """Return the report, and the FLOP that PyTorch counts without a wafer."""
    with FlopCounterMode(display=False) as counter:
        train()
    session = Session(WaferOptions(fidelity=fidelity, rectangle=(2, 1), simulate_budget=0))
    with run_on(session):
        train()
    return session.report(is_over=True), counter.get_total_flops()


def launches(programs):
    """Return launches of each phase, in all programs."""
    found = Counter[str]()
    for program in programs:
        for phase in program.phases:
            found[phase.phase] += phase.launches
    return found


FIDELITIES = [Fidelity.MODEL, pytest.param(Fidelity.FABRIC, marks=pytest.mark.slow)]


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_counts_of_adversaries(fidelity):
    report, flop = run(adversaries, fidelity)
    assert (report.flop.total, report.flop.on_wafer, report.host) == (flop, flop, ())
    # In each step a call of the maker, and three of the judge. These are of two programs: that of
    # the first step gives no gradient of its input.
    assert sum(one.calls for one in report.programs) == report.wafer_calls == 4 * STEPS
    assert sum(one.samples for one in report.programs) == 4 * STEPS * ROWS
    (maker,) = (one for one in report.programs if one.calls == STEPS)
    assert launches([maker]) == {
        "forward": STEPS,
        "backward": 2 * STEPS,  # gradients are cleared before
        "update": STEPS,
    }
    # The backward pass of both losses goes back from the last call first; for the other one its
    # forward pass and loss are launched again. The maker's loss adds to what is there, but in the
    # first step, whose gradients are those of the other program.
    judge, later = max(report.programs, key=lambda one: one.cycles), STEPS - 1
    passes = {"forward": 3 * later + 1, "loss": 3 * later + 1, "backward": 3 * later + 1}
    assert {phase.phase: phase.calls for phase in judge.phases} == passes | {"update": later}
    assert launches([judge]) == {
        "forward": 4 * later + 1,
        "loss": 4 * later + 1,
        "backward": (3 + 2) * later + 1 + 1,
        "update": later,
    }
    assert (judge.calls, judge.step.repeated) == (3 * later + 1, later)
    assert judge.step.samples == pytest.approx(judge.calls * ROWS / later)
    # What both losses give is added up by the host, and sent for the step; so are moments, when the
    # second program takes its first step.
    parameters = DATA * HIDDEN + HIDDEN + HIDDEN + 1
    assert judge.parameters_resent == 4 * (later + 2)
    of_step, num_numbers = judge.step, 16  # what the host writes for a step of Adam
    forward, backward = 4 * later + 1, 3 * later + 1
    sent = ROWS * (DATA + 1) * forward + backward + num_numbers * later
    assert pytest.approx(of_step.bytes_in * later) == 4 * (sent + parameters * (later + 2))
    assert (
        pytest.approx(of_step.bytes_out * later)
        == 4 * (ROWS + 1) * forward + 4 * ROWS * DATA * backward
    )
    if fidelity is not Fidelity.FABRIC:  # there blocks have padding
        assert judge.bytes_in - 4 * parameters == pytest.approx(of_step.bytes_in * later)
        assert judge.bytes_out == pytest.approx(of_step.bytes_out * later)


@pytest.mark.parametrize("take_loss", [contrast, margin])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_counts_of_twins(take_loss, fidelity):
    report, flop = run(twins(take_loss), fidelity)
    assert report.flop.total == flop
    of_loss = STEPS * 3 * 2 * ROWS * ROWS * 3 * (take_loss is contrast)  # its product, both ways
    assert report.flop.on_wafer == flop - of_loss
    program = max(report.programs, key=lambda one: one.calls)
    assert program.calls == report.wafer_calls == 2 * STEPS
    assert program.step.samples == 2 * ROWS
    guessed = sum(one.launches for one in report.programs) - program.launches
    assert guessed == (2 if fidelity is Fidelity.FABRIC else 0)  # before a loss is seen
    assert launches([program]) == {
        "forward": 3 * STEPS - (guessed > 0),
        "backward": 4 * STEPS,
        "update": STEPS,
    }
    assert sum(one.step.repeated for one in report.programs if one.step) == STEPS - (guessed > 0)
