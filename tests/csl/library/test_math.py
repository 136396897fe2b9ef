"""`<math>` on the simulated machine: f16 for all inputs, f32 for directed and random ones."""

from __future__ import annotations

import numpy as np
import pytest

from onewafer.errors import CompileError
from tests.csl.library.kernel import apply
from tests.csl.library.one_pe import compile_pe, device_of

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


def test_bf16_while_compiling():
    conditions = [
        "math.ceil(x) == 3.0 and math.floor(-x) == -3.0",
        "math.fscale(x, 2) == 9.0",
        "math.tanh(x) == 0.9765625 and math.sig(x) == 0.90625",
        "math.isInf(math.POSITIVE_INF(bf16)) and math.NEGATIVE_INF(bf16) < x",
        "math.isNaN(math.NaN(bf16))",
    ]
    asserted = "".join(f"  @comptime_assert({condition});\n" for condition in conditions)
    declared = 'const math = @import_module("<math>");\nconst x: bf16 = 2.25;\n'
    compile_pe("", f"{declared}comptime {{\n{asserted}}}\n")


IMPORT = 'const math = @import_module("<math>");\n'


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("math.abs(-3)", "3"),
        ("math.abs(-(1 << 70))", "1 << 70"),
        ("math.abs(-3.5)", "3.5"),
        ("math.abs(-1e300)", "1e300"),
        ("math.signbit(math.abs(-0.0))", "false"),
        ("math.sign(-3)", "-1"),
        ("math.sign(0)", "0"),
        ("math.sign(1 << 70)", "1"),
        ("math.sign(-3.5)", "-1.0"),
        ("math.sign(1e-300)", "1.0"),
        ("math.signbit(math.sign(-0.0))", "true"),
        ("math.max(-3.0, -1e300)", "-3.0"),
        ("math.min(-3, -(1 << 70))", "-(1 << 70)"),
        ("math.floor(-2.5)", "-3.0"),
        ("math.floor(16777217.5)", "16777217.0"),
        ("math.floor(0.99999999999)", "0.0"),
        ("math.floor(-1e300)", "-1e300"),
        ("math.ceil(16777217.5)", "16777218.0"),
        ("math.ceil(1e-300)", "1.0"),
        ("math.signbit(math.ceil(-0.5))", "true"),
        ("math.isInf(1e300) or math.isNaN(1e300) or math.isSignaling(1e300)", "false"),
        ("math.isFinite(1e300)", "true"),
        ("math.isInf(-1e300 * 1e300) and !math.isFinite(1e300 * 1e300)", "true"),
        ("math.isNaN(1e300 * 1e300 - 1e300 * 1e300)", "true"),
        ("math.signbit(-1e-300)", "true"),
        ("math.abs(@as(i3, -3))", "3"),
        ("math.sign(@as(i33, -3))", "-1"),
        ("math.abs(@as(bf16, -3.5))", "3.5"),
    ],
)
def test_numbers_that_are_known_have_their_own_values(expression, value):
    """Those without a type are not rounded to f32."""
    compile_pe("", f"{IMPORT}comptime {{ @comptime_assert({expression} == {value}); }}")


@pytest.mark.parametrize("x", ["NORTH", "@get_color(3)", "true", '"3"', "{}"])
@pytest.mark.parametrize("name", ["abs", "sign"])
def test_what_is_no_number_has_no_magnitude(name, x):
    with pytest.raises(CompileError, match=f"<math>.{name} is of numbers"):
        compile_pe("", f"{IMPORT}comptime {{ _ = math.{name}({x}); }}")


OF_FLOATS = ["floor", "ceil", "isNaN", "isInf", "isFinite", "isSignaling", "signbit"]
OF_FORMATS = ["sqrt", "inv", "invsqrt", "exp", "log", "tanh", "sig", "sin", "cos", "pow", "fscale"]


@pytest.mark.parametrize("x", ["3", "@as(i16, 3)", "true"])
@pytest.mark.parametrize("name", OF_FLOATS)
def test_integers_have_no_fraction_and_no_bits_of_a_float(name, x):
    with pytest.raises(CompileError, match=f"<math>.{name} is of floats"):
        compile_pe("", f"{IMPORT}comptime {{ _ = math.{name}({x}); }}")


@pytest.mark.parametrize("x", ["3", "3.0", "@as(i16, 3)", "true"])
@pytest.mark.parametrize("name", OF_FORMATS)
def test_what_is_rounded_is_rounded_to_a_format(name, x):
    other = {"pow": f", {x}", "fscale": ", 2"}.get(name, "")
    with pytest.raises(CompileError, match=f"<math>.{name} is of f16, bf16, cb16 and f32"):
        compile_pe("", f"{IMPORT}comptime {{ _ = math.{name}({x}{other}); }}")


@pytest.mark.parametrize("name", ["sqrt", "isInf", "floor"])
def test_a_late_integer_is_refused_as_well(name):
    with pytest.raises(CompileError, match=rf"<math>.{name} is of .* write `@as\(f32, …\)`"):
        compile_pe(f"_ = math.{name}(n);", f"{IMPORT}var n: i16 = 3;")


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


PAIR = "if (i % 2 == 0) math.{}(x[i], x[i + 1]) else 0.0"
EXTREMES = np.array(
    [0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 1e-45, 3.4e38, np.inf, -np.inf, np.nan, 16777216],
    np.float32,
)


def of_pairs(name, x, y):
    """The results of a function of two arguments."""
    both = np.stack([x, y], axis=1).reshape(-1)
    return apply(PAIR.format(name), both)[0][::2]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_pow_f32_is_near():
    rng, n = np.random.default_rng(2), 2048
    x = np.concatenate(
        [rng.uniform(0.9, 1.1, n), rng.uniform(0, 10, n), np.exp(rng.uniform(-100, 88, n))]
    ).astype(np.float32)
    y = np.concatenate(
        [rng.uniform(-800, 800, n), rng.uniform(-20, 20, n), rng.uniform(-1.4, 1.4, n)]
    ).astype(np.float32)
    result = of_pairs("pow", x, y)
    error, _ = largest_error(result, x.astype(np.float64) ** y.astype(np.float64))
    assert error <= 1.5


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_pow_of_extremes_is_that_of_ieee_754():
    x, y = (grid.reshape(-1) for grid in np.meshgrid(EXTREMES, EXTREMES))
    result, exact = of_pairs("pow", x, y), np.float_power(x, y)
    error, signs = largest_error(result, exact)
    assert error <= 1.5
    assert signs


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_pow_f16_is_near():
    rng = np.random.default_rng(3)
    x = np.exp(rng.uniform(-10, 10, 2048)).astype(np.float16)
    y = rng.uniform(-8, 8, 2048).astype(np.float16)
    error, _ = largest_error(of_pairs("pow", x, y), x.astype(np.float64) ** y.astype(np.float64))
    assert error <= 0.51


@pytest.mark.parametrize("power", [0, 1, -1, 40, -126, -127, -150, 128, 270, -270, 32767, -32768])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_fscale_rounds_once(power):
    x = random_f32()[:8192]
    result, _ = apply(f"math.fscale(x[i], {power})", x)
    with np.errstate(all="ignore"):
        exact = np.ldexp(x.astype(np.float64), max(-2000, min(power, 700)))
    error, signs = largest_error(result, exact)
    assert error <= 0.5
    assert signs


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_fscale_of_f16():
    for power in (3, -3, -20, 30):
        result, _ = apply(f"math.fscale(x[i], {power})", ALL_F16)
        with np.errstate(all="ignore"):
            exact = np.ldexp(ALL_F16.astype(np.float64), power)
        error, signs = largest_error(result, exact)
        assert error <= 0.5
        assert signs


@pytest.mark.parametrize(
    ("expression", "oracle"),
    [
        ("math.sign(x[i])", lambda x: np.where(x == 0, x, np.sign(x))),
        ("math.max_f16(x[i], 1.5)", lambda x: np.where(np.isnan(x), x, np.maximum(x, 1.5))),
        ("math.min(x[i], 1.5)", lambda x: np.where(np.isnan(x), x, np.minimum(x, 1.5))),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_comparisons_of_every_f16(expression, oracle):
    result, _ = apply(expression, ALL_F16)
    error, signs = largest_error(result, oracle(ALL_F16.astype(np.float64)))
    assert error == 0
    assert signs


def test_integers_and_constants():
    body = """
  words[0] = @as(u32, math.abs(@as(i16, -n))); words[1] = @bitcast(u32, math.sign(@as(i32, -n)));
  words[2] = math.max(words[0], 9); words[3] = math.min(words[0], 9);
  words[4] = math.sign(words[0]);
  words[5] = @bitcast(u32, math.POSITIVE_INF(f32));
  words[6] = @bitcast(u32, math.NEGATIVE_INF(f32));
  words[7] = @bitcast(u32, math.NaN(f32)); words[8] = @as(u32, @bitcast(u16, math.NaN(f16)));
  words[9] = math.abs(words[0]);
"""
    declarations = 'const math = @import_module("<math>"); var n: i16 = 7; var words: [10]u32;\n'
    device = device_of(compile_pe(body, declarations, variables={"words": "u32"}))
    device.launch("run")
    bits = [7, 0xFFFFFFFF, 9, 7, 1, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7E00, 7]
    assert device.read("words", 10).reshape(-1).tolist() == bits
