"""`mesh/functions.py` against exact values; the fabric computes the same bits (next test file).

These tests hold the table of docs/explanation/numerics.md. `pytest -m slow` looks at every 101st
f32 number instead of every 20,011th.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.nn import functional

from onewafer.mesh import functions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

# At the ends of the ranges in which one power of two is taken off, and around special places.
PLACES = np.arange(-170, 260) * math.log(2)
DIRECTED = [
    0.0,
    1,
    6,
    11,
    12.1,
    14.3,
    87.4,
    103.97,
    110,
    176.9,
    2.0**-126,
    2.0**-149,
    3.4e38,
    np.inf,
]


def logistic(x: Doubles) -> Doubles:
    small = np.exp(-abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


def normal(x: Doubles) -> Doubles:
    """Return Φ(x)."""
    return np.fromiter((0.5 * math.erfc(-value / math.sqrt(2)) for value in x), np.float64, len(x))


def tanh_gelu(x: Doubles) -> Doubles:
    return x * logistic(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


@dataclass(frozen=True, slots=True)
class Claim:
    """How near a function is from `least` to `most`."""

    name: str
    exact: Callable[[Doubles], Doubles]
    least: float
    most: float
    units: float
    """Units of the last place of the result."""
    absolute: float = np.inf

    def __str__(self) -> str:
        return f"{self.name} from {self.least} to {self.most}"


CLAIMS = [
    Claim("exponential", np.exp, -np.inf, 177, 2.5),
    Claim("sigmoid", logistic, -np.inf, np.inf, 3.5),
    Claim("tanh", np.tanh, -np.inf, np.inf, 4),
    Claim("silu", lambda x: x * logistic(x), -np.inf, np.inf, 4),
    Claim("gelu_tanh", tanh_gelu, -1, np.inf, 4),
    Claim("gelu_tanh", tanh_gelu, -6, -1, 80, 7e-8),
    Claim("gelu_tanh", tanh_gelu, -np.inf, -6, 256, 1e-15),
    Claim("gelu", lambda x: x * normal(x), -1, np.inf, 4),
    Claim("gelu", lambda x: x * normal(x), -6, -1, 80, 7e-8),
    Claim("gelu", lambda x: x * normal(x), -np.inf, -6, np.finfo(float).max, 1e-13),
    Claim("rsqrt", lambda x: 1 / np.sqrt(x), 0, np.inf, 1.5),
    Claim("reciprocal", lambda x: 1 / x, 2.0**-120, 2.0**120, 1.2),
]
DERIVATIVES = {
    "sigmoid_derivative": torch.sigmoid,
    "tanh_derivative": torch.tanh,
    "silu_derivative": functional.silu,
    "gelu_derivative": functional.gelu,
    "gelu_tanh_derivative": lambda x: functional.gelu(x, approximate="tanh"),
}
STRIDES = [20_011, pytest.param(101, marks=pytest.mark.slow)]


def numbers(stride: int, least: float, most: float) -> Iterator[NDArray[np.float32]]:
    """Yield f32 numbers of that range: each `stride`-th, and directed ones."""
    places = np.array([*PLACES, *DIRECTED, *(-x for x in DIRECTED)], np.float32)
    beside = [np.nextafter(places, np.float32(end)) for end in (-np.inf, np.inf)]
    words = np.arange(0, 1 << 32, stride, dtype=np.uint64).astype(np.uint32)
    parts = np.array_split(words.view(np.float32), 1 + len(words) // (1 << 18))
    for part in (np.concatenate([places, *beside]), *parts):
        yield part[(part >= least) & (part <= most)]


def errors(result: NDArray[np.float32], exact: Doubles) -> Doubles:
    """Return errors in units of the last place; infinite where a special value or sign differs."""
    rounded = exact.astype(np.float32)
    unit = np.spacing(abs(np.where(np.isfinite(rounded), rounded, 1))).astype(np.float64)
    units = abs(result.astype(np.float64) - exact) / unit
    same = (result == rounded) | (np.isnan(result) & np.isnan(rounded))
    is_number = np.isfinite(result) & np.isfinite(rounded)
    has_sign = (np.signbit(result) == np.signbit(rounded)) | np.isnan(rounded)
    return np.where(is_number & has_sign, units, np.where(same & has_sign, 0, np.inf))


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("claim", CLAIMS, ids=str)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_errors_are_as_claimed(claim, stride):
    for x in numbers(stride, claim.least, claim.most):
        result = getattr(functions, claim.name)(x)
        exact = claim.exact(x.astype(np.float64))
        if claim.name in {"silu", "gelu", "gelu_tanh"}:  # −∞ · 0
            exact = np.where(np.isneginf(x), -0.0, exact)
        absolute = np.where(result == exact, 0, abs(result - exact))
        in_units = errors(result, exact)
        is_far = (absolute > claim.absolute) | (in_units > claim.units)
        assert not is_far.any(), (x[is_far], result[is_far], in_units[is_far])


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives_are_near_those_of_pytorch(name):
    for x in numbers(STRIDES[0], -1e30, 1e30):
        exact = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        DERIVATIVES[name](exact).sum().backward()
        assert abs(getattr(functions, name)(x) - exact.grad.numpy()).max() <= 3e-7


@pytest.mark.parametrize(
    ("beta", "threshold"), [(1.0, 20.0), (1.0, 0.5), (0.25, 3.0), (-2.0, 20.0), (8.0, 500.0)]
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_softplus_is_near_that_of_pytorch(beta, threshold):
    """β · x is rounded once more than it needs to be where β is no power of two."""
    for x in numbers(STRIDES[0], -1e30, 1e30):
        exact = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        result = functional.softplus(exact, beta, threshold)
        result.sum().backward()
        expected = result.detach().numpy()
        is_normal = abs(expected) > np.finfo(np.float32).tiny
        found = functions.softplus(x, beta, threshold)
        assert (errors(found, expected) <= 4)[is_normal].all()
        assert abs(found - expected)[~is_normal].max(initial=0) <= np.finfo(np.float32).tiny
        slopes = functions.softplus_derivative(x, beta, threshold)
        assert abs(slopes - exact.grad.numpy()).max() <= 3e-7


def test_softplus_of_special_values():
    x = np.array([np.inf, -np.inf, np.nan, 0.0], np.float32)
    expected = [np.inf, 0, np.nan, np.log(2)]
    np.testing.assert_allclose(functions.softplus(x, 1.0, 20.0), expected, rtol=1e-7)
    np.testing.assert_array_equal(functions.softplus_derivative(x[:2], 1.0, 20.0), [1, 0])


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "silu_for_half", "gelu", "gelu_tanh"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_f16_results_are_rounded_once(name):
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    x = x[np.isfinite(x)].astype(np.float32)
    result = getattr(functions, name)(x).astype(np.float16)
    exact = next(claim.exact for claim in CLAIMS if claim.name == name.removesuffix("_for_half"))(
        x.astype(np.float64)
    )
    unit = np.spacing(abs(exact.astype(np.float16))).astype(np.float64)
    assert (abs(result - exact) <= 0.51 * unit).all()


@pytest.mark.parametrize("name", sorted({claim.name for claim in CLAIMS}))
def test_nan_stays_nan(name):
    nan = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0x7FFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(getattr(functions, name)(nan)).all()


def test_rsqrt_outside_its_domain():
    x = np.array([0, -0.0, -1, -np.inf, np.inf, -1e-45], np.float32)
    np.testing.assert_array_equal(functions.rsqrt(x), [np.inf, -np.inf, np.nan, np.nan, 0, np.nan])


def test_the_weights_of_an_f16_softmax_are_near():
    x = np.concatenate([-np.linspace(0, 87, 500_001), [-0.0]]).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    weights = functions.exponential_for_half(x)
    assert (abs(weights - exact) <= 7e-6 * exact).all()
    assert (abs(weights - exact) <= 4e-6)[x > -20].all()
    assert (weights <= 1).all()
    far = functions.exponential_for_half(np.array([-88, -1e30, -np.inf, np.nan], np.float32))
    assert (far[:3] < 2e-38).all()
    assert np.isnan(far[3])


def test_exponential_of_zero_is_one_and_below_it_no_more():
    x = -np.arange(1 << 16, dtype=np.float32) / 1024
    values = functions.exponential(x)
    assert values[0] == 1
    assert (values <= 1).all()


@pytest.mark.parametrize("every", [256, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["exponential", "tanh"])
def test_monotone_from_number_to_number(name, every):
    """From −3e−8 to −110; between that and −0 the result is 1, or x."""
    block = 1 << 16
    for first in range(0x33000000, 0x42DC0000, every * block):
        words = np.uint32(first) + np.arange(block + 1, dtype=np.uint32)
        values = getattr(functions, name)(-words.view(np.float32))
        assert (np.diff(values) <= 0).all(), hex(first)


@pytest.mark.parametrize("stride", STRIDES)
def test_saturating_functions_stay_in_their_range(stride):
    for x in numbers(stride, -np.inf, np.inf):
        assert (abs(functions.tanh(x)) <= 1).all()
        assert ((functions.sigmoid(x) >= 0) & (functions.sigmoid(x) <= 1)).all()


def test_tanh_is_odd():
    x = next(numbers(20_011, -np.inf, np.inf))
    np.testing.assert_array_equal(functions.tanh(-x), -functions.tanh(x))
