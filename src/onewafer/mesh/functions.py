"""Elementary functions as the wafer computes them: f32, operation by operation.

These are the functions of `functions.csl` and `rsqrt.csl` with the same operations in the same
order, so that both agree in every bit. docs/explanation/numerics.md has their formulas and errors.
Arguments and results are f32 arrays of any shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh.arithmetic import maximum
from onewafer.mesh.kinds import Module

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[Any]  # of f32
    Words = NDArray[np.uint32]

FUNCTIONS = Module("functions")
"""The kernel of these functions; it also holds the scratch of all kernels that call them."""
_SIGN = np.uint32(0x80000000)
_ONE, _TWO, _HUGE = np.float32(1), np.float32(2), np.float32(2.0**127)

_HALF_STEPS = np.float32(92.33248)
"""128 / (2 ln 2)."""
_ROUND = np.float32(12582912.0)
"""1.5 · 2²³: adding it to a small number rounds that to an integer in the last bits."""
_ROUND_STEPS = np.float32(12582976.0)
"""The same constant plus 64, half of the 128 that exponents are rounded to."""
_STEP_HIGH, _STEP_LOW = np.float32(1.0833740234375e-2), np.float32(-3.3155382e-6)
"""2 ln 2 / 128, as the sum of two parts."""
_EXPONENTIAL = (0.50000036, 0.16666612, 4.1661117e-2, 8.336187e-3, 1.4107504e-3, 1.9607862e-4)
"""Coefficients of (eˣ − 1 − x) / x² for |x| up to ln 2."""
_RECIPROCAL = (2.121212, -1.4545455, 0.32323232)
"""Coefficients of 1 / x for x from 1 to 2, within 1 %."""
_STEPS, _MINUS_STEP = np.float32(1.442695), np.float32(-0.6931472)
"""1 / ln 2 and −ln 2."""
_EXPONENTIAL_FOR_HALF = (1.0, 0.9999668, 0.50003016, 0.16787526, 4.1513775e-2)
"""Coefficients of eˣ for |x| up to ln 2 / 2, within 2.9 · 10⁻⁶."""
_RECIPROCAL_FOR_HALF = (2.8284233, -2.9393421, 1.3310228, -0.22183713)
"""Coefficients of 1 / x for x from 1 to 2, within 0.18 %."""
_NORMAL_TAIL = (
    *(-0.6931471, 0.7978867, -0.3182893, 3.640767e-2, 4.904232e-3, 7.459855e-5),
    *(-1.5732137e-4, -4.229266e-5, -5.757377e-6, -4.231341e-7, -1.3278901e-8),
)
"""Coefficients of ln Φ(x) for x from −6 to 0; below, the approximation falls faster than ln Φ."""
_OF_INCREMENT = (
    *(1.0, -0.49999902, 0.33329964, -0.24954134, 0.19675939, -0.15305592),
    *(0.10603654, -5.6959517e-2, 1.9851454e-2, -3.2440233e-3),
)
"""Coefficients of ln(1 + y) / y for y from 0 to 1."""
_TANH_LINEAR, _TANH_CUBIC = np.float32(1.5957692), np.float32(7.1354814e-2)
"""2 √(2/π), and 2 √(2/π) · 0.044715."""
_THREE_CUBIC = np.float32(0.21406444)


def _quietly(function: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    """Make a function ignore overflow and NaN without a NumPy warning."""

    def quiet(x: Floats) -> Floats:
        with np.errstate(all="ignore"):
            return function(np.asarray(x, np.float32))

    quiet.__doc__, quiet.__name__ = function.__doc__, function.__name__
    return quiet


@_quietly
def exponential(x: Floats) -> Floats:
    """Return eˣ, for x up to 177 (in softmax x is at most 0).

    >>> float(exponential(np.float32(0))), float(exponential(np.float32(-np.inf)))
    (1.0, 0.0)
    """
    tail, scale = _split(_at_least(x, -110))
    return (tail + _ONE) * scale * scale


@_quietly
def exponential_for_half(x: Floats) -> Floats:
    """Return eˣ for x up to 0, accurate enough to be rounded to f16.

    >>> float(exponential_for_half(np.float32(0))), float(exponential_for_half(np.float32(-5)))
    (1.0, 0.006737964227795601)
    """
    tail, steps = _split_for_half(_at_least(x, -87))
    scale = ((steps << np.uint32(23)) + np.uint32(0x3F800000)).view(np.float32)
    return tail * scale


@_quietly
def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + e⁻ˣ)."""
    tail, scale = _split(_minus_magnitude(x, -110))
    small = (tail + _ONE) * scale * scale  # e^−|x|
    share = _reciprocal(small + _ONE)
    return maximum(small, _step(x)) * share


@_quietly
def silu(x: Floats) -> Floats:
    """Return x / (1 + e⁻ˣ)."""
    bounded = _minus_magnitude(x, -110)
    return _gate(x, bounded, bounded)


@_quietly
def silu_for_half(x: Floats) -> Floats:
    """Return x / (1 + e⁻ˣ), accurate enough to be rounded to f16."""
    bounded = _minus_magnitude(x, -25)
    tail, steps = _split_for_half(bounded)
    small = (_words(tail) + (steps << np.uint32(23))).view(np.float32)  # e^−|x|
    return small * _reciprocal_for_half(small + _ONE) * bounded + _above_zero(x)


@_quietly
def gelu_tanh(x: Floats) -> Floats:
    """Return x · (1 + tanh(√(2/π) · (x + 0.044715 x³))) / 2."""
    bounded = _minus_magnitude(x, -11)
    exponent = (bounded * bounded * _TANH_CUBIC + _TANH_LINEAR) * bounded
    return _gate(x, bounded, exponent)


@_quietly
def gelu(x: Floats) -> Floats:
    """Return x · Φ(x) = x · (1 + erf(x / √2)) / 2."""
    bounded = _minus_magnitude(x, -12.1)
    tail, scale = _split(polynomial(bounded, _NORMAL_TAIL))
    part = (tail + _ONE) * scale * bounded * scale  # −|x| · Φ(−|x|)
    return part + _above_zero(x)


@_quietly
def tanh(x: Floats) -> Floats:
    """Return the hyperbolic tangent."""
    tail, scale = _split(_minus_magnitude(x, -10) * _TWO)
    square = scale * scale
    less = tail * square + (square - _ONE)  # e^(−2|x|) − 1
    magnitude = less * _reciprocal(less + _TWO)
    return np.copysign(magnitude, x)


@_quietly
def sigmoid_derivative(x: Floats) -> Floats:
    """Return the derivative of the sigmoid."""
    small, share = _shares(_minus_magnitude(x, -110))
    return small * share * share


@_quietly
def tanh_derivative(x: Floats) -> Floats:
    """Return the derivative of the hyperbolic tangent."""
    small, share = _shares(_minus_magnitude(x * _TWO, -110))
    return small * share * share * np.float32(4)


@_quietly
def silu_derivative(x: Floats) -> Floats:
    """Return the derivative of silu."""
    return _join(x, x, *_shares(_minus_magnitude(x, -110)))


@_quietly
def gelu_tanh_derivative(x: Floats) -> Floats:
    """Return the derivative of the tanh form of gelu."""
    bounded = _minus_magnitude(x, -11)
    square = bounded * bounded
    exponent = (square * _TANH_CUBIC + _TANH_LINEAR) * bounded
    slope = (square * _THREE_CUBIC + _TANH_LINEAR) * x
    return _join(slope, x, *_shares(exponent))


@_quietly
def gelu_derivative(x: Floats) -> Floats:
    """Return the derivative of x · Φ(x), which is Φ(x) + x · φ(x)."""
    tail, scale = _split(polynomial(_minus_magnitude(x, -12.1), _NORMAL_TAIL))
    below = (tail + _ONE) * scale * scale  # Φ(−|x|)
    tail, scale = _split(_at_least(x * x * np.float32(-0.5), -110))
    density = (tail + _ONE) * scale * scale * np.float32(0.3989423)
    above = _at_least(_step(x), 0)
    return density * x + (above * -_TWO + _ONE) * below + above


def softplus(x: Floats, beta: float, threshold: float) -> Floats:
    """Return ln(1 + e^(β x)) / β, or x where β x exceeds the threshold, which is at least 0."""
    with np.errstate(all="ignore"):
        scaled, small = _small_of_softplus(x, beta, threshold)
        total = logarithm_of_increment(small) + _at_least(scaled, 0)
        return total * np.float32(1 / beta)


def softplus_derivative(x: Floats, beta: float, threshold: float) -> Floats:
    """Return the derivative of softplus."""
    with np.errstate(all="ignore"):
        scaled, small = _small_of_softplus(x, beta, threshold)
        return maximum(small, _step(scaled)) * _reciprocal(small + _ONE)


def logarithm_of_increment(y: Floats) -> Floats:
    """Return ln(1 + y) for y from 0 to 1."""
    return polynomial(y, _OF_INCREMENT) * y


@_quietly
def rsqrt(x: Floats) -> Floats:
    """Return 1 / √x: +∞ for +0, −∞ for −0, NaN below 0."""
    is_plain = (x > 0) & (x < np.inf)
    is_small = is_plain & (x < np.float32(2.0**-100))  # half of it may be subnormal
    scaled = np.where(is_small, x * np.float32(2.0**24), np.where(is_plain, x, _ONE))
    half = scaled * np.float32(0.5)
    estimate = (np.uint32(0x5F375A86) - (_words(scaled) >> np.uint32(1))).view(np.float32)
    for _ in range(2):
        estimate = estimate * (np.float32(1.5) - half * estimate * estimate)
    estimate = estimate + estimate * (np.float32(0.5) - half * estimate * estimate)
    estimate = np.where(is_small, estimate * np.float32(4096), estimate)
    return np.where(is_plain, estimate, np.where(x < 0, np.float32(np.nan), _ONE / x))


@_quietly
def reciprocal(x: Floats) -> Floats:
    """Return 1 / x for x from 2^−120 to 2^120, within 1.2 units in the last place."""
    estimate = (np.uint32(0x7EF311C7) - _words(x)).view(np.float32)
    for _ in range(2):
        estimate = estimate * (_TWO - x * estimate)
    return estimate + estimate * (_ONE - x * estimate)


@_quietly
def inverse(x: Floats) -> Floats:
    """Return 1 / x for x from 10⁻³⁰ to 10³⁰, within 2 units in the last place."""
    upper = (np.uint32(0x7EF3) - (_words(x) >> np.uint32(16))) & np.uint32(0xFFFF)
    estimate = (upper << np.uint32(16)).view(np.float32)
    for _ in range(3):
        estimate = estimate * (_TWO - x * estimate)
    return estimate


def polynomial(x: Floats, coefficients: Sequence[float]) -> Floats:
    """Evaluate a polynomial by Horner's rule, rounding every operation."""
    constant, *inner, last = (np.float32(value) for value in coefficients)
    total = x * last
    for coefficient in reversed(inner):
        total = (total + coefficient) * x
    return total + constant


def _words(x: Floats) -> Words:
    return np.ascontiguousarray(x).view(np.uint32).reshape(x.shape)


def _at_least(x: Floats, least: float) -> Floats:
    return maximum(x, np.asarray(least, np.float32))


def _minus_magnitude(x: Floats, least: float) -> Floats:
    """Return −|x|, at least `least`."""
    return _at_least((_words(x) | _SIGN).view(np.float32), least)


def _above_zero(x: Floats) -> Floats:
    """Return max(x, −0)."""
    return _at_least(x, -0.0)


def _split(exponent: Floats) -> tuple[Floats, Floats]:
    """Return tail and scale such that e^exponent = (1 + tail) · scale²."""
    steps = _words(exponent * _HALF_STEPS + _ROUND_STEPS) & ~np.uint32(0x7F)
    whole = steps.view(np.float32) - _ROUND
    scale = ((steps << np.uint32(16)) + np.uint32(0x3F800000)).view(np.float32)
    rest = exponent - whole * _STEP_HIGH - whole * _STEP_LOW
    return polynomial(rest, _EXPONENTIAL) * rest * rest + rest, scale


def _reciprocal(x: Floats) -> Floats:
    """Return 1 / x for x from 1 to 2."""
    estimate = polynomial(x, _RECIPROCAL)
    estimate = estimate * (_TWO - x * estimate)
    return estimate + (_ONE - x * estimate) * estimate


def _split_for_half(exponent: Floats) -> tuple[Floats, Words]:
    """Return a number from 0.7 to 1.5 and words that end in k: e^exponent = number · 2ᵏ."""
    steps = exponent * _STEPS + _ROUND
    rest = exponent + (steps - _ROUND) * _MINUS_STEP
    return polynomial(rest, _EXPONENTIAL_FOR_HALF), _words(steps)


def _reciprocal_for_half(x: Floats) -> Floats:
    """Return 1 / x for x from 1 to 2."""
    estimate = polynomial(x, _RECIPROCAL_FOR_HALF)
    return estimate * (_TWO - x * estimate)


def _gate(x: Floats, bounded: Floats, exponent: Floats) -> Floats:
    """Return x / (1 + e^−v) from `exponent`, −|v|, and `bounded`, −|x|."""
    tail, scale = _split(exponent)
    root = (tail + _ONE) * scale
    part = root * _reciprocal(root * scale + _ONE) * bounded * scale
    return part + _above_zero(x)


def _small_of_softplus(x: Floats, beta: float, threshold: float) -> tuple[Floats, Floats]:
    """Return v = β x, and e^−|v|, or about 0 where v exceeds the threshold."""
    scaled = x * np.float32(beta)
    beyond = (scaled - np.float32(threshold)) * _HUGE * _HUGE
    magnitude = maximum(np.abs(scaled), beyond)
    tail, scale = _split(_at_least(-magnitude, -110))
    return scaled, (tail + _ONE) * scale * scale


def _step(x: Floats) -> Floats:
    """Return min(2¹²⁷ · x, 1): 1 for x > 0, else at most 0."""
    return -_at_least(x * np.float32(-(2.0**127)), -1)


def _shares(exponent: Floats) -> tuple[Floats, Floats]:
    """Return e^exponent and 1 / (1 + e^exponent), for exponents of at most 0."""
    tail, scale = _split(exponent)
    small = (tail + _ONE) * scale * scale
    return small, _reciprocal(small + _ONE)


def _join(slope: Floats, x: Floats, small: Floats, share: Floats) -> Floats:
    """Return σ(x) + slope · σ'(x), given small = e^−|x| and share = 1 / (1 + small)."""
    return (maximum(small, _step(x)) + small * share * slope) * share
