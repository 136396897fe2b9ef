"""Losses of single elements as the wafer computes them: f32, operation by operation.

These are the functions of `differences.csl` and `binary.csl`, with the same operations in the same
order, so that both agree in every bit. docs/explanation/numerics.md has their formulas and errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh import functions
from onewafer.mesh.arithmetic import maximum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[Any]  # of f32

_ONE = np.float32(1)
_HUGE = np.float32(2.0**127)
_OF_LOGARITHM = (
    *(1.0, -0.49999988, 0.33333325, -0.25001585, 0.20002000, -0.16609049),
    *(0.14181212, -0.13242490, 0.12908497, -7.6285265e-2),
)
"""ln(1 + f) / f for f from −0.293 to 0.415."""
_OF_INCREMENT = (
    *(1.0, -0.49999902, 0.33329964, -0.24954134, 0.19675939, -0.15305592),
    *(0.10603654, -5.6959517e-2, 1.9851454e-2, -3.2440233e-3),
)
"""ln(1 + y) / y for y from 0 to 1."""


def square(x: Floats, t: Floats) -> Floats:
    """Return (x − t)²."""
    difference = x - t
    return difference * difference


def square_slope(x: Floats, t: Floats) -> Floats:
    """Return half the derivative of the square."""
    return x - t


def absolute(x: Floats, t: Floats) -> Floats:
    """Return |x − t|."""
    return np.abs(x - t)


def absolute_slope(x: Floats, t: Floats) -> Floats:
    """Return the sign of x − t."""
    return _at_least(-_at_least((x - t) * _HUGE * -_HUGE, -1), -1)


def binary(x: Floats, t: Floats) -> Floats:
    """Return the cross entropy of a share x with t."""
    of_one = logarithm(x) * t
    return -(logarithm(_ONE - x) * (_ONE - t) + of_one)


def binary_slope(x: Floats, t: Floats) -> Floats:
    """Return its derivative."""
    return (x - t) * functions.inverse(_at_least((_ONE - x) * x, 1e-12))


def binary_logits(x: Floats, t: Floats) -> Floats:
    """Return the cross entropy of σ(x) with t."""
    small = functions.exponential(_at_least(-np.abs(x), -110))
    return _polynomial(small, _OF_INCREMENT) * small + (_at_least(x, 0) - x * t)


def binary_logits_slope(x: Floats, t: Floats) -> Floats:
    """Return its derivative."""
    return functions.sigmoid(x) - t


def logarithm(x: Floats) -> Floats:
    """Return ln x, but not below −100, for numbers from 0 to 1."""
    scaled = np.ascontiguousarray(x * np.float32(2.0**24)).view(np.uint32)
    upper = (scaled >> np.uint32(16)) + np.uint32(0x4B)
    k = (upper >> np.uint32(7)).astype(np.float32) - np.float32(127 + 24)
    bits = (((upper & np.uint32(0x7F)) + np.uint32(0x3F35)) << np.uint32(16)) | (
        scaled & np.uint32(0xFFFF)
    )
    f = bits.view(np.float32) - _ONE
    result = _polynomial(f, _OF_LOGARITHM) * f + k * np.float32(-2.12194440e-4)
    return _at_least(result + k * np.float32(0.693359375), -100)


def _at_least(x: Floats, least: float) -> Floats:
    return maximum(x, np.asarray(least, np.float32))


def _polynomial(x: Floats, coefficients: Sequence[float]) -> Floats:
    """Evaluate by Horner's rule, every operation rounded."""
    constant, *inner, last = (np.float32(value) for value in coefficients)
    total = x * last
    for coefficient in reversed(inner):
        total = (total + coefficient) * x
    return total + constant
