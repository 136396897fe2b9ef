"""The characters example: the same names in plain Python and with the host's values."""

import runpy
from pathlib import Path

import pytest
import torch

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on

SCRIPT = Path(__file__).parents[2] / "examples" / "characters.py"


def losses(steps: int) -> list[float]:
    example = runpy.run_path(str(SCRIPT))
    torch.manual_seed(0)
    features, characters = example["CONTEXT"] * len(example["ALPHABET"]), len(example["ALPHABET"])
    model = torch.nn.Sequential(
        torch.nn.Linear(features, 64), torch.nn.Tanh(), torch.nn.Linear(64, characters)
    )
    return example["train"](model, steps)


def test_losses_are_those_of_plain_python():
    session = Session(WaferOptions(fidelity=Fidelity.MODEL))
    expected = losses(30)
    with run_on(session):
        assert losses(30) == expected
    assert sum(expected[-5:]) < 0.95 * sum(expected[:5])
    assert session.report(is_over=True).flop.share == 1


@pytest.mark.slow
def test_losses_of_the_fabric_are_near():
    session = Session(WaferOptions(fidelity=Fidelity.FABRIC, rectangle=(2, 2)))
    expected = losses(3)
    with run_on(session):
        found = losses(3)
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-5, atol=0)
