from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from onewafer.mesh.arithmetic import fused_multiply_add, relu

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


def rounded(exact: Fraction) -> np.float32:
    """Round to f32, to nearest even, by comparing exact distances."""
    with np.errstate(over="ignore"):
        guess = np.float32(float(exact))
    candidates = [
        np.nextafter(guess, np.float32(-np.inf)),
        guess,
        np.nextafter(guess, np.float32(np.inf)),
    ]
    candidates = [value for value in candidates if np.isfinite(value)]
    return min(
        candidates,
        key=lambda value: (abs(Fraction(float(value)) - exact), int(value.view(np.uint32)) & 1),
    )


E1 = 2.0**-23


@given(finite, finite, finite)
@example(1 - E1, (1 + E1) * 2.0**-24, 1 + E1)  # f64 then f32 would round twice
@example(1 + E1, (1 + E1) * 2.0**-24, 1.0)
@example(1 + E1, -(1 + E1) * 2.0**-24, 1 + E1)
@example(-(1 - E1), (1 + E1) * 2.0**-24, -(1 + E1))
@example(2.0**-100, 2.0**-49, 2.0**-149)
@example(2.0**-75, 2.0**-75, 0.0)
def test_fused_multiply_add_rounds_once(a, b, c):
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    result = fused_multiply_add(np.float32(c), np.float32(a), np.float32(b))
    largest = Fraction(float(np.finfo(np.float32).max))
    if abs(exact) > largest:
        return
    assert result == rounded(exact)


def test_fused_multiply_add_of_special_values():
    infinity, one = np.float32(np.inf), np.float32(1)
    assert fused_multiply_add(one, infinity, one) == infinity
    assert np.isnan(fused_multiply_add(infinity, -infinity, one))


def test_relu_of_special_values():
    values = np.array([-1, -0.0, 0, 2, np.nan, np.inf, -np.inf], np.float32)
    result = relu(values)
    np.testing.assert_array_equal(result, np.array([0, 0, 0, 2, np.nan, np.inf, 0], np.float32))
    assert not np.signbit(result[:2]).any()
