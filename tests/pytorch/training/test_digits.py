"""The example's training loop: losses of every step, where it ran, and what the report says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from onewafer.execution import launch_files
from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on
from onewafer.pytorch.report import render
from onewafer.terminal import PlainConsole

EXAMPLE = Path(__file__).parents[3] / "examples" / "digits.py"
STEPS = 23
"""Steps of an epoch; the last one has fewer rows."""


def load_example():
    """Return the example as a module."""
    spec = importlib.util.spec_from_file_location("digits_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train(monkeypatch):
    """Return the losses of an epoch, and the accuracy afterwards."""
    example, losses = load_example(), []
    cross_entropy = functional.cross_entropy

    class Recorded:
        @staticmethod
        def cross_entropy(*args):
            losses.append(cross_entropy(*args))
            return losses[-1]

    monkeypatch.setattr(example, "F", Recorded)
    torch.manual_seed(0)
    train_set, test_set = example.load_data()
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    example.train(model, train_set, epochs=1)
    return [loss.item() for loss in losses], example.evaluate(model, test_set)


def train_on(monkeypatch, fidelity):
    session = Session(WaferOptions(fidelity=fidelity, rectangle=(4, 2)))
    with run_on(session):
        found = train(monkeypatch)
    return found, session.report(is_over=True)


@pytest.mark.slow
def test_losses_on_the_fabric_are_near_those_of_plain_python(monkeypatch):
    losses, accuracy = train(monkeypatch)
    (found, found_accuracy), report = train_on(monkeypatch, Fidelity.FABRIC)
    assert len(found) == STEPS
    assert losses == pytest.approx(found, rel=2e-6)
    assert accuracy == found_accuracy
    assert report.flop.share == 1
    assert not report.host
    (program,) = report.programs  # evaluation reads the parameters that were trained
    assert program.parameters_resent == 0
    assert (program.step.steps, program.step.repeated) == (STEPS, 0)


@pytest.mark.slow
def test_auto_has_the_losses_of_plain_python_and_simulates_each_launch_once(monkeypatch, tmp_path):
    monkeypatch.setattr(launch_files, "cache_folder", lambda: tmp_path)
    expected = train(monkeypatch)
    found, report = train_on(monkeypatch, Fidelity.AUTO)
    assert found == expected
    (program,) = report.programs
    assert program.simulation.origins.simulated == 5
    assert program.simulation.other_bits == 0
    assert program.simulation.distance <= 1e-6
    console = PlainConsole()
    with console.capture() as shown:
        console.print(render(report, is_verbose=True))
    text = shown.get()
    for row in (
        "100% of the script's matrix FLOP",
        "costs of a step",
        "samples/s",
        "gradients, moments",
    ):
        assert row in text
