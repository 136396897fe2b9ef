"""PyTorch on the host and the wafer agree within the bound of their arithmetic."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from onewafer.pytorch import Fidelity, Session, WaferOptions, intercept_calls
from tests.pytorch.agreement import assert_agrees

KINDS = ["linear", "relu", "short residual", "residual"]


class Residual(nn.Module):
    def __init__(self, size, hidden, *, has_bias):
        super().__init__()
        self.first = nn.Linear(size, hidden, bias=has_bias)
        self.second = nn.Linear(hidden, size, bias=has_bias)

    def forward(self, x):
        return x + self.second(torch.relu(self.first(x)))


class ShortResidual(nn.Module):
    def __init__(self, size, *, has_bias):
        super().__init__()
        self.linear = nn.Linear(size, size, bias=has_bias)

    def forward(self, x):
        return x + self.linear(x)


@st.composite
def models(draw):
    """Draw a chain of linear layers, ReLUs and residual blocks."""
    size = draw(st.integers(1, 12))
    layers = []
    for kind in draw(st.lists(st.sampled_from(KINDS), max_size=2)):
        other, has_bias = draw(st.integers(1, 12)), draw(st.booleans())
        match kind:
            case "linear":
                layers.append(nn.Linear(size, other, bias=has_bias))
                size = other
            case "relu":
                layers.append(nn.ReLU())
            case "short residual":
                layers.append(ShortResidual(size, has_bias=has_bias))
            case _:
                layers.append(Residual(size, other, has_bias=has_bias))
    return nn.Sequential(*layers, nn.Linear(size, 3))


CASES = {
    "model": models(),
    "rows": st.integers(1, 9),
    "rectangle": st.tuples(st.integers(1, 3), st.integers(1, 3)),
    "dtype": st.sampled_from([torch.float32, torch.float16]),
    "seed": st.integers(0, 9),
}


def check(fidelity, model, case):
    torch.manual_seed(case["seed"])
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    options = WaferOptions(fidelity=fidelity, rectangle=case["rectangle"], max_batch=4)
    wafer = Session(options)
    first = next(layer for layer in model.modules() if isinstance(layer, nn.Linear))
    x = torch.randn(case["rows"], first.in_features).to(case["dtype"])
    model = model.to(case["dtype"])
    with torch.no_grad():
        assert_agrees(wafer, model, x, wafer.call(model, (x,), {}))


@settings(max_examples=30)
@given(**CASES)
def test_numpy_reader_agrees_with_pytorch(model, **case):
    check(Fidelity.MODEL, model, case)


@settings(max_examples=8)
@given(**CASES)
def test_fabric_agrees_with_pytorch(model, **case):
    check(Fidelity.FABRIC, model, case)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.alternate
def test_a_residual_over_one_linear_layer_needs_no_host(dtype):
    torch.manual_seed(0)
    model, x = ShortResidual(10, has_bias=True).to(dtype).eval(), torch.randn(2, 10).to(dtype)
    wafer = Session(WaferOptions(fidelity=Fidelity.FABRIC, rectangle=(4, 4)))
    with intercept_calls(wafer), torch.no_grad():
        result = model(x)
    (record,) = wafer.ledger.programs
    assert (record.program.width, record.program.height, record.launches) == (4, 4, 1)
    assert not wafer.ledger.fallbacks
    assert_agrees(wafer, model, x, result)
