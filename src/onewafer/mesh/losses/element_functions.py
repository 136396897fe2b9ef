"""Element-wise losses as the wafer computes them: f32, operation by operation.

These are the functions of `differences.csl` and `chunks.csl` with the same operations in the same
order, so that both agree in every bit. docs/explanation/numerics.md has their formulas and errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh import functions
from onewafer.mesh.arithmetic import maximum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[Any]  # of f32

_ONE = np.float32(1)
_HUGE = np.float32(2.0**127)
_OF_LOGARITHM = (
    *(1.0, -0.49999988, 0.33333325, -0.25001585, 0.20002000, -0.16609049),
    *(0.14181212, -0.13242490, 0.12908497, -7.6285265e-2),
)
"""Coefficients of ln(1 + f) / f for f from −0.293 to 0.415."""


def square(x: Floats, t: Floats) -> Floats:
    """Return (x − t)²."""
    difference = x - t
    return difference * difference


def square_slope(x: Floats, t: Floats) -> Floats:
    """Return x − t, half the derivative of the square."""
    return x - t


def absolute(x: Floats, t: Floats) -> Floats:
    """Return |x − t|."""
    return np.abs(x - t)


def absolute_slope(x: Floats, t: Floats) -> Floats:
    """Return the sign of x − t, the derivative of the absolute error."""
    return _at_least(-_at_least((x - t) * _HUGE * -_HUGE, -1), -1)


def binary(x: Floats, t: Floats) -> Floats:
    """Return the binary cross entropy of the probability x with the target t."""
    of_one = logarithm(x) * t
    return -(logarithm(_ONE - x) * (_ONE - t) + of_one)


def binary_slope(x: Floats, t: Floats) -> Floats:
    """Return the derivative of the binary cross entropy."""
    return (x - t) * functions.inverse(_at_least((_ONE - x) * x, 1e-12))


def binary_logits(x: Floats, t: Floats) -> Floats:
    """Return the binary cross entropy of σ(x) with the target t."""
    rest, linear = _parts_of_logits(x, t)
    return rest + linear


def binary_logits_slope(x: Floats, t: Floats) -> Floats:
    """Return the derivative of the binary cross entropy with logits."""
    return functions.sigmoid(x) - t


def weighted_logits(x: Floats, t: Floats, weights: Floats) -> Floats:
    """Return the binary cross entropy of σ(x) with t, whose term of t is weighted."""
    rest, linear = _parts_of_logits(x, t)
    more = (_at_least(-x, 0) + rest) * ((weights - _ONE) * t)
    return rest + linear + more


def weighted_logits_slope(x: Floats, t: Floats, weights: Floats) -> Floats:
    """Return the derivative of the weighted binary cross entropy with logits."""
    weighted = weights * t
    return functions.sigmoid(x) * (weighted + _ONE - t) - weighted


def huber(x: Floats, t: Floats, least: Floats) -> Floats:
    """Return the Huber loss of x − t; `least` is −δ."""
    difference = x - t
    bounded = _bound(difference, least)
    return (difference - bounded * np.float32(0.5)) * bounded


def huber_slope(x: Floats, t: Floats, least: Floats) -> Floats:
    """Return the derivative of the Huber loss."""
    return _bound(x - t, least)


def divergence(x: Floats, t: Floats) -> Floats:
    """Return t · (ln t − x), the KL divergence of log-probabilities x."""
    return (logarithm(t) - x) * t


def divergence_slope(x: Floats, t: Floats) -> Floats:
    """Return the derivative of the KL divergence."""
    del x
    return -t


def log_divergence(x: Floats, t: Floats) -> Floats:
    """Return eᵗ · (t − x), the KL divergence where the target is a logarithm, too."""
    return functions.exponential(t) * (t - x)


def log_divergence_slope(x: Floats, t: Floats) -> Floats:
    """Return the derivative of the KL divergence with a logarithmic target."""
    del x
    return -functions.exponential(t)


def logarithm(x: Floats) -> Floats:
    """Return ln x for x from 0 to 1, at least −100."""
    scaled = np.ascontiguousarray(x * np.float32(2.0**24)).view(np.uint32)
    upper = (scaled >> np.uint32(16)) + np.uint32(0x4B)
    k = (upper >> np.uint32(7)).astype(np.float32) - np.float32(127 + 24)
    bits = (((upper & np.uint32(0x7F)) + np.uint32(0x3F35)) << np.uint32(16)) | (
        scaled & np.uint32(0xFFFF)
    )
    f = bits.view(np.float32) - _ONE
    result = functions.polynomial(f, _OF_LOGARITHM) * f + k * np.float32(-2.12194440e-4)
    return _at_least(result + k * np.float32(0.693359375), -100)


def _parts_of_logits(x: Floats, t: Floats) -> tuple[Floats, Floats]:
    """Return ln(1 + e^−|x|), and max(x, 0) − x · t."""
    small = functions.exponential(_at_least(-np.abs(x), -110))
    return functions.logarithm_of_increment(small), _at_least(x, 0) - x * t


def _bound(x: Floats, least: Floats) -> Floats:
    return -maximum(-maximum(x, least), least)


def _at_least(x: Floats, least: float) -> Floats:
    return maximum(x, np.asarray(least, np.float32))
