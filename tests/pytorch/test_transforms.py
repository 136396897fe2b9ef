"""What prepares data is neither offered to the wafer nor reported."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from onewafer.pytorch import Fidelity, Session, WaferOptions, intercept_calls
from onewafer.pytorch.intercept import is_transform

X = torch.linspace(-1, 1, 12).reshape(3, 4)


@pytest.fixture
def wafer():
    return Session(WaferOptions(fidelity=Fidelity.MODEL, rectangle=(1, 1)))


class Halve(nn.Module):
    """A transform of the user's own."""

    def forward(self, x):
        return torch.sin(x) / 2


class Samples(Dataset):
    """Applies a module to each sample."""

    def __init__(self, module):
        self.module = module

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return self.module(X[index : index + 1])


def test_a_module_without_parameters_in_a_data_set_is_left_alone(wafer):
    samples = Samples(Halve())
    with torch.no_grad(), intercept_calls(wafer):
        loaded = [batch for batch in DataLoader(samples)]  # noqa: C416  # the batches themselves
        single = samples[0]
        Halve()(X)
    assert torch.equal(loaded[0][0], single)
    assert wafer.ledger.fallbacks.total() == 1  # outside of the data set
    assert wafer.ledger.num_calls == 1


def test_a_model_in_a_data_set_runs_on_the_wafer(wafer):
    with torch.no_grad(), intercept_calls(wafer):
        [*DataLoader(Samples(nn.Linear(4, 4)))]
    assert sum(record.calls for record in wafer.ledger.programs) == len(X)


def test_transforms_of_torchvision_are_left_alone_wherever_they_are_called(wafer):
    transforms = pytest.importorskip("torchvision.transforms")
    v2 = pytest.importorskip("torchvision.transforms.v2")
    picture = torch.linspace(0, 1, 3 * 8 * 8).reshape(3, 8, 8)
    both = [transforms.Normalize([0.5] * 3, [0.5] * 3), transforms.CenterCrop(4)]
    with intercept_calls(wafer):
        first = nn.Sequential(*both)(picture)
        second = v2.Compose([v2.Normalize([0.5] * 3, [0.5] * 3), v2.CenterCrop(4)])(picture)
        transforms.Resize(4, antialias=True)(picture)
    assert torch.equal(first, second)
    assert wafer.ledger.num_calls == 0


@pytest.mark.parametrize(
    ("module", "argument", "expected"),
    [
        (nn.Softmax(-1), X, False),
        (nn.Sequential(nn.ReLU(), nn.ReLU()), X, False),
        (Halve(), "a picture, not a tensor", True),
        (nn.Linear(4, 4), "a picture, not a tensor", False),
    ],
)
def test_what_counts_as_a_transform(module, argument, expected):
    assert is_transform(module, (argument,), {}) == expected
