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
    Doubles = NDArray[np.float64]

_BLOCK_ELEMENTS = 1 << 13
"""Elements that are computed together: their temporaries stay in the cache."""
_BELOW_F32 = (1 << 29) - 1
"""Low mantissa bits of an f64 that a normal f32 does not have."""
_HALF_OF_F32 = 1 << 28
"""Their value halfway between two f32."""


def fused_multiply_add(addend: Floats, left: Floats, right: Floats) -> Floats:
    """Return f32 `addend + left · right`, rounded once, to nearest even.

    >>> one, epsilon = np.float32(1), np.float32(2.0**-23)
    >>> a, b, c = one - epsilon, (one + epsilon) * np.float32(2.0**-24), one + epsilon
    >>> bool(fused_multiply_add(c, a, b) == c)
    True
    """
    with (
        np.errstate(all="ignore"),
        np.nditer(
            [addend, left, right, None],
            ["external_loop", "buffered", "zerosize_ok"],
            [["readonly"], ["readonly"], ["readonly"], ["writeonly", "allocate"]],
            [np.float64, np.float64, np.float64, np.float32],
            order="C",
            casting="same_kind",
            buffersize=_BLOCK_ELEMENTS,
        ) as blocks,
    ):
        for term, one, other, sums in blocks:
            product = one * other
            total = product + term
            sums[...] = _round_to_odd(total, product, term) if _has_ties(total) else total
        return blocks.operands[3]


def _has_ties(total: Doubles) -> bool:
    """Tell whether a number lies halfway between two f32, or may, if the f32 are subnormal.

    Elsewhere the second rounding goes where one rounding of the exact sum would have gone.
    """
    is_tie = total.view(np.int64) & _BELOW_F32 == _HALF_OF_F32
    return bool((is_tie | (np.abs(total) < np.finfo(np.float32).tiny)).any())


def _round_to_odd(total: Doubles, product: Doubles, term: Doubles) -> Doubles:
    """Return `product + term` rounded to odd; `total` is the sum rounded to nearest even."""
    # Knuth's two-sum: `total + error` is the exact sum.
    rest = total - product
    error = (product - (total - rest)) + (term - rest)
    bits = total.view(np.int64)
    is_inexact_even = (error != 0) & np.isfinite(total) & (bits & 1 == 0)
    toward_error = np.where((error > 0) == (total > 0), 1, -1)
    return np.where(is_inexact_even, bits + toward_error, bits).view(np.float64)


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
        zeros = left + right  # −0 only if both zeros are −0
        larger = np.maximum(left, right)
    return np.where((left == 0) & (right == 0), zeros, larger)
