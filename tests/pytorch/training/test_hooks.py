"""Losses and optimizers that are replaced while a script runs are PyTorch's to everyone else."""

from __future__ import annotations

import inspect
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from onewafer.pytorch import Fidelity, Session, WaferOptions, run_on

LOGITS, CLASSES = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([2])
PLAIN, PLAIN_STEP = functional.cross_entropy, torch.optim.Adam.step


def replaced():
    """Return what is replaced while a script runs."""
    return functional.cross_entropy, torch.optim.Adam.step, torch.optim.Optimizer.__init__


@pytest.fixture(autouse=True)
def wafer():
    torch.optim.Adam([torch.zeros(1)])  # PyTorch itself replaces `step` when the first one is made
    plain = replaced()
    with run_on(Session(WaferOptions(fidelity=Fidelity.MODEL))):
        yield
    assert replaced() == plain


class Loss(nn.Module):
    def forward(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, classes)


def test_torchscript_compiles_losses():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        script = torch.jit.script(nn.CrossEntropyLoss())
    assert torch.equal(script(LOGITS, CLASSES), PLAIN(LOGITS, CLASSES))


def test_fx_traces_losses_by_their_names():
    (call,) = torch.fx.symbolic_trace(Loss()).graph.find_nodes(
        op="call_function", target=functional.cross_entropy
    )
    assert call.args[0].name == "logits"


def test_functorch_differentiates_losses():
    def loss(logits):
        return functional.cross_entropy(logits, CLASSES)

    torch.testing.assert_close(torch.func.grad(loss)(LOGITS).sum(), torch.tensor(0.0))


def test_losses_are_pickled_by_name_and_have_their_signatures():
    assert pickle.dumps(functional.cross_entropy)  # fails unless it is what its name stands for
    assert inspect.signature(functional.cross_entropy) == inspect.signature(PLAIN)
    assert inspect.signature(torch.optim.Adam.step) == inspect.signature(PLAIN_STEP)


def test_arguments_may_have_names():
    found = functional.cross_entropy(input=LOGITS, target=CLASSES)
    assert torch.equal(found, PLAIN(LOGITS, CLASSES))
