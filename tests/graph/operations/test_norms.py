"""Norms against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
from torch.nn import functional

from onewafer.graph import (
    LayerNorm,
    RmsNorm,
    Tensor,
)
from tests.graph.operations.one_operation import F32, compute, random, t


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_rms_norm(groups):
    x, w = random(1, 5, 12), random(2, 12 // groups)
    found = compute(RmsNorm(Tensor("r", x.shape, F32), "x", "w", 1e-3, groups), {"x": x, "w": w})
    expected = functional.rms_norm(t(x).reshape(5, groups, -1), w.shape, t(w), 1e-3)
    np.testing.assert_allclose(found, expected.reshape(5, 12).numpy(), rtol=1e-12)


def test_a_norm_whose_groups_have_weights_of_their_own():
    x, w, b, groups = random(1, 5, 12), random(2, 12), random(3, 12), (5, 3, 4)
    norm = LayerNorm(Tensor("r", x.shape, F32), "x", "w", "b", 1e-3, 3)
    found = compute(norm, {"x": x, "w": w, "b": b})
    normalised = functional.layer_norm(t(x).reshape(groups), (4,), eps=1e-3).reshape(5, 12)
    np.testing.assert_allclose(found, (normalised * t(w) + t(b)).numpy(), rtol=1e-8)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_layer_norm(groups):
    size = 12 // groups
    x, w, b = random(1, 5, 12), random(2, size), random(3, size)
    norm = LayerNorm(Tensor("r", x.shape, F32), "x", "w", "b", 1e-3, groups)
    found = compute(norm, {"x": x, "w": w, "b": b})
    expected = functional.layer_norm(t(x).reshape(5, groups, size), (size,), t(w), t(b), 1e-3)
    np.testing.assert_allclose(found, expected.reshape(5, 12).numpy(), rtol=1e-8)
