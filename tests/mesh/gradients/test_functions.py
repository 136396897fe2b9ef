"""Functions of losses and optimizers against float64, as docs/explanation/numerics.md has them."""

from __future__ import annotations

import numpy as np
import pytest

from onewafer.mesh.functions import inverse
from onewafer.mesh.losses import element_functions
from onewafer.mesh.losses.operations import logarithm
from onewafer.mesh.optimizers.operations import root


def floats(low: float, high: float) -> np.ndarray:
    """Return every 20,011th f32 number from one to another."""
    first, last = np.array([low, high], np.float32).view(np.uint32)
    return np.arange(first, last, 20011, dtype=np.uint32).view(np.float32)


@pytest.mark.parametrize(
    ("function", "exact", "low", "high", "bound"),
    [
        (logarithm, np.log, 1, 3e38, 0.9),
        (root, np.sqrt, 1e-30, 1e38, 3),
        (inverse, np.reciprocal, 1e-30, 1e30, 2),
    ],
    ids=["logarithm", "root", "inverse"],
)
def test_errors_in_units(function, exact, low, high, bound):
    x = floats(low, high)
    expected = exact(x.astype(np.float64))
    unit = np.spacing(np.abs(expected.astype(np.float32))).astype(np.float64)
    assert (np.abs(function(x) - expected) <= bound * unit).all()


def test_logarithms_of_shares():
    x = floats(1e-45, 1)
    expected = np.maximum(np.log(x.astype(np.float64)), -100)
    unit = np.spacing(np.abs(expected.astype(np.float32))).astype(np.float64)
    assert (np.abs(element_functions.logarithm(x) - expected) <= 2.5 * unit).all()
    assert element_functions.logarithm(np.zeros(1, np.float32)) == -100
    with np.errstate(over="ignore"):
        slopes = element_functions.absolute_slope(np.float32([1e-45, 0, -1e-45, 2]), np.float32(0))
    np.testing.assert_array_equal(slopes, [1, 0, -1, 1])


def test_special_values():
    special = np.array([1, np.inf, np.nan], np.float32)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(logarithm(special), [0, np.nan, np.nan])
    assert root(np.array([0.0, 1e-40], np.float32)).max() <= 1.1e-15
