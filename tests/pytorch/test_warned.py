"""Warnings of PyTorch name the lines of a script that they name under plain Python."""

from __future__ import annotations

import warnings
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on


def warn(block, action):
    """Return texts and places of warnings about some losses, most of them made twice."""
    model, images, targets = nn.Linear(4, 1), torch.ones(8, 4), torch.zeros(8)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action)
        with block:
            for _ in range(2):
                functional.mse_loss(model(images), targets)
                nn.MSELoss()(model(images), targets)
                shares = functional.log_softmax(model(images))
                functional.kl_div(shares, torch.ones(8, 1))
                warnings.warn("own", stacklevel=1)
            functional.mse_loss(model(images), targets)
    return [(str(one.message), one.filename, one.lineno) for one in caught]


@pytest.mark.parametrize(("action", "number"), [("default", 6), ("always", 11)])
def test_warnings_name_the_lines_that_plain_python_names_as_often(action, number):
    options = WaferOptions(fidelity=Fidelity.MODEL, rectangle=(1, 1))
    plain = warn(nullcontext(), action)
    assert len(plain) == number
    assert warn(run_on(Session(options)), action) == plain
    files = [file for _, file, _ in plain]
    assert files.count(__file__) < number
    assert all(file == __file__ or file.endswith("modules/loss.py") for file in files)


def test_a_warning_that_a_script_makes_an_error_is_raised():
    options = WaferOptions(fidelity=Fidelity.MODEL, rectangle=(1, 1))
    with run_on(Session(options)), warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="target size"):
            functional.mse_loss(nn.Linear(4, 1)(torch.ones(8, 4)), torch.zeros(8))
