"""The arithmetic of the wafer on NumPy arrays, rounded as the hardware rounds.

NumPy's own f32 and f16 additions and conversions already round once, to nearest even. What it lacks
is the fused f32 multiply-add; f64 holds the product of two f32 exactly, but rounding the sum first
to f64 and then to f32 may round twice in one direction. `fused_multiply_add` rounds the first time
*to odd*, which makes the second rounding the only one that counts (53 ≥ 24 + 2 bits).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


def fused_multiply_add(addend: Floats, left: Floats, right: Floats) -> Floats:
    """Return f32 `addend + left · right`, rounded once, to nearest even.

    >>> one, epsilon = np.float32(1), np.float32(2.0**-23)
    >>> a, b, c = one - epsilon, (one + epsilon) * np.float32(2.0**-24), one + epsilon
    >>> bool(fused_multiply_add(c, a, b) == c)
    True
    """
    with np.errstate(all="ignore"):
        product = np.float64(left) * np.float64(right)
        term = np.float64(addend)
        total = np.asarray(product + term)
        # Knuth's two-sum: `total + error` is the exact sum.
        rest = total - product
        error = (product - (total - rest)) + (term - rest)
        bits = total.view(np.int64)
        is_inexact_even = (error != 0) & np.isfinite(total) & (bits & 1 == 0)
        toward_error = np.where((error > 0) == (total > 0), 1, -1)
        odd = np.where(is_inexact_even, bits + toward_error, bits).view(np.float64)
        return odd.astype(np.float32)


def add(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Return the sum in the operands' type; overflow gives infinity without a warning."""
    with np.errstate(all="ignore"):
        return left + right


def relu(values: NDArray[Any]) -> NDArray[Any]:
    """Return max(value, +0); NaN stays NaN, −0 becomes +0."""
    return np.where(values <= 0, values.dtype.type(0), values)


def round_to_half(values: Floats) -> NDArray[np.float16]:
    """Return the values as f16, to nearest even; overflow gives infinity without a warning."""
    with np.errstate(all="ignore"):
        return values.astype(np.float16)


def multiply(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Return the product in the operands' type; overflow gives infinity without a warning."""
    with np.errstate(all="ignore"):
        return left * right


def subtract(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Return the difference in the operands' type; overflow gives infinity without a warning."""
    with np.errstate(all="ignore"):
        return left - right


def maximum(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Return the larger one; NaN if one is NaN, and +0 is above −0.

    >>> one, other = np.float32([-0.0, 0.0]), np.float32([0.0, -0.0])
    >>> bool(np.signbit(maximum(one, other)).any())
    False
    """
    with np.errstate(all="ignore"):
        zeros = left + right  # of two zeros −0 only if both are
        larger = np.maximum(left, right)
    return np.where((left == 0) & (right == 0), zeros, larger)
