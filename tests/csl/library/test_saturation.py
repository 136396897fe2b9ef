"""`<math>.subsat`: a difference never leaves its type, known or not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.errors import CompileError
from tests.csl.library.kernel import apply
from tests.csl.library.one_pe import compile_pe, device_of

IMPORT = 'const math = @import_module("<math>");\n'
PAIR = "if (i % 2 == 0) math.subsat(x[i], x[i + 1]) else 0.0"


def saturated(x, y):
    """Differences by the definition: exact ones, clipped to the numbers that there are."""
    of = np.iinfo(x.dtype) if x.dtype.kind in "iu" else np.finfo(x.dtype)
    wide = np.int64 if x.dtype.kind in "iu" else np.float64
    exact = x.astype(wide) - y.astype(wide)
    return np.clip(exact, of.min, of.max).astype(x.dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_floats_are_never_infinite(dtype):
    rng, most = np.random.default_rng(5), np.finfo(dtype).max
    edges = np.array([0, 1, most, -most, most / 2, np.inf, -np.inf, np.nan, 1e-7], dtype)
    grid = [axis.reshape(-1) for axis in np.meshgrid(edges, edges)]
    drawn = (rng.uniform(-most, most, (2, 500))).astype(dtype)
    x, y = (np.concatenate([a, b]) for a, b in zip(grid, drawn, strict=True))
    result = apply(PAIR, np.stack([x, y], axis=1).reshape(-1))[0][::2]
    assert np.array_equal(result, saturated(x, y), equal_nan=True)


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("sign", ["i", "u"])
def test_integers_stay_in_their_type(bits, sign):
    element = f"{sign}{bits}"
    dtype = np.dtype(element.replace("i", "int").replace("u", "uint"))
    of = np.iinfo(dtype)
    edges = [of.min, of.min + 1, of.min // 2, 0, 1, 3, of.max // 2, of.max - 1, of.max]
    x, y = (
        axis.reshape(-1) for axis in np.meshgrid(np.array(edges, dtype), np.array(edges, dtype))
    )
    wide = f"{sign}32"
    declarations = f"{IMPORT}var x: [{len(x)}]{wide}; var y: [{len(x)}]{wide};\n"
    body = f"""for (@range(u16, {len(x)})) |i| {{
      x[i] = @as({wide}, math.subsat(@as({element}, x[i]), @as({element}, y[i])));
    }}"""
    device = device_of(compile_pe(body, declarations, variables={"x": wide, "y": wide}))
    for name, numbers in (("x", x), ("y", y)):
        device.write(name, numbers.astype(f"{dtype.kind}4")[None, None])
    device.launch("run")
    assert (
        device.read("x", len(x)).reshape(-1).astype(np.int64).tolist() == saturated(x, y).tolist()
    )


@given(data=st.data(), bits=st.sampled_from([3, 8, 16, 32, 33, 64]), is_signed=st.booleans())
def test_known_integers_stay_in_their_type(data, bits, is_signed):
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
    x, y = (data.draw(st.integers(least, most)) for _ in range(2))
    element = f"{'i' if is_signed else 'u'}{bits}"
    call = f"math.subsat(@as({element}, {x}), @as({element}, {y}))"
    expected = min(max(x - y, least), most)
    compile_pe("", f"{IMPORT}comptime {{ @comptime_assert({call} == {expected}); }}")


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("math.subsat(3, 5)", "-2"),
        ("math.subsat(0.5, 0.25)", "0.25"),
        ("math.subsat(@as(bf16, -3.0e38), @as(bf16, 3.0e38))", "-math.largest"),
        ("math.subsat_f16(60000.0, -60000.0)", "65504.0"),
        ("math.subsat_f32(-3.0e38, 3.0e38)", "-3.4028234663852886e38"),
    ],
)
def test_known_numbers(call, value):
    value = value.replace("math.largest", "@bitcast(bf16, @as(u16, 0x7f7f))")
    compile_pe("", f"{IMPORT}comptime {{ @comptime_assert({call} == {value}); }}")


def test_what_is_no_number_is_refused():
    with pytest.raises(CompileError, match=r"<math>.subsat is of numbers"):
        compile_pe("", f"{IMPORT}comptime {{ _ = math.subsat(true, false); }}")
