"""`<math>` on the simulated machine: f16 for all inputs, f32 for directed and random ones."""

from __future__ import annotations

import numpy as np
import pytest

from tests.csl.library.kernel import apply

ALL_F16 = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
SPECIAL = np.array(
    [0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1.2e-38, 3.4e38, 1, -1, 88.7, -103.9],
    np.float32,
)
ORACLES = {
    "abs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
    "sqrt": np.sqrt,
    "inv": np.reciprocal,
    "invsqrt": lambda x: 1 / np.sqrt(x),
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sig": lambda x: np.where(x < 0, np.exp(-abs(x)), 1) / (1 + np.exp(-abs(x))),
    "sin": np.sin,
    "cos": np.cos,
}
F32_BOUND = {"abs": 0, "floor": 0, "ceil": 0, "sqrt": 0.5, "inv": 0.5, "invsqrt": 1.5}
F32_BOUND |= {"exp": 1.0, "log": 1.0, "tanh": 2.0, "sig": 2.5, "sin": 2.5, "cos": 2.5}


def random_f32():
    rng = np.random.default_rng(1)
    words = rng.integers(0, 1 << 32, 8192, dtype=np.uint32).view(np.float32)
    near = np.concatenate([rng.uniform(-s, s, 4000) for s in (1.5, 20, 100, 1e5)])
    return np.concatenate([words, near.astype(np.float32), SPECIAL])


def largest_error(result, exact):
    """In units of the last place of the result's type; infinite where a special value differs."""
    rounded = exact.astype(result.dtype)
    same = (result == rounded) | (np.isnan(result) & np.isnan(rounded))
    is_number = np.isfinite(result) & np.isfinite(rounded)
    unit = np.spacing(np.abs(np.where(is_number, rounded, 1))).astype(np.float64)
    error = np.where(is_number, np.abs(result.astype(np.float64) - exact) / unit, np.inf)
    zero_signs = (rounded != 0) | (np.signbit(result) == np.signbit(rounded))
    return np.max(np.where(same & ~is_number, 0, error)), bool(np.all(zero_signs))


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_f16_is_near_for_every_input(name):
    result, _ = apply(f"math.{name}(x[i])", ALL_F16)
    error, signs = largest_error(result, ORACLES[name](ALL_F16.astype(np.float64)))
    assert error <= 0.51
    assert signs


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_f32_is_near(name):
    x = random_f32()
    if name in {"sin", "cos"}:
        x = x[~(np.isfinite(x) & (np.abs(x) > 1e5))]
    result, _ = apply(f"math.{name}(x[i])", x)
    error, signs = largest_error(result, ORACLES[name](x.astype(np.float64)))
    assert error <= F32_BOUND[name]
    assert signs


def test_angles_that_are_too_large_give_nan():
    result, _ = apply("math.sin(x[i])", np.array([102944.0, -3.4e38], np.float32))
    assert np.all(np.isnan(result))


@pytest.mark.parametrize("name", ["isNaN", "isInf", "isFinite", "signbit"])
def test_kinds_of_numbers(name):
    result, _ = apply(f"if (math.{name}(x[i])) 1.0 else 0.0", ALL_F16)
    want = {"isNaN": np.isnan, "isInf": np.isinf, "isFinite": np.isfinite, "signbit": np.signbit}
    assert np.array_equal(result != 0, want[name](ALL_F16))
