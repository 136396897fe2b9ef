"""Functions of elements against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from onewafer.graph import (
    Activation,
    ActivationFunction,
    Softplus,
    Tensor,
)
from tests.graph.operations.one_operation import F32, compute, random, t

FUNCTIONS = {
    ActivationFunction.SILU: functional.silu,
    ActivationFunction.GELU: functional.gelu,
    ActivationFunction.GELU_TANH: lambda x: functional.gelu(x, approximate="tanh"),
    ActivationFunction.SIGMOID: torch.sigmoid,
    ActivationFunction.TANH: torch.tanh,
}


@pytest.mark.parametrize("function", ActivationFunction)
def test_activation(function):
    x = np.concatenate([random(0, 3, 50) * 4, np.array([[-800.0, 0.0, 800.0, 1e-30, -5] * 10])])
    found = compute(Activation(Tensor("r", x.shape, F32), "x", function), {"x": x})
    np.testing.assert_allclose(found, FUNCTIONS[function](t(x)).numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("beta", "threshold"), [(1.0, 20.0), (3.0, 0.5), (-0.5, 2.0)])
def test_softplus(beta, threshold):
    x = np.concatenate([random(0, 3, 50) * 4, np.array([[-800.0, 0.0, 800.0, 1e-30, -5] * 10])])
    found = compute(Softplus(Tensor("r", x.shape, F32), "x", beta, threshold), {"x": x})
    expected = functional.softplus(t(x), beta, threshold).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
