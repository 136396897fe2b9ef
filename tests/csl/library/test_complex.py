"""`<complex>`, and what it needs of the language: structs as arguments and results at run time."""

from __future__ import annotations

import numpy as np
import pytest

from onewafer.errors import CompileError
from tests.csl.library.one_pe import compile_pe, device_of

CALLS = {
    "add": "c.add_complex",
    "subtract": "c.subtract_complex",
    "multiply": "c.multiply_complex",
}


def parts_of(body, declarations, dtype, words):
    """Run `body` on the array `parts` and return it."""
    element = {"float16": "f16", "float32": "f32"}[np.dtype(dtype).name]
    declared = f'const c = @import_module("<complex>");\n{declarations}var parts: [8]{element};\n'
    device = device_of(compile_pe(body, declared, variables={"parts": element}))
    device.write("parts", np.array(words, dtype).reshape(1, 1, 8))
    device.launch("run")
    return device.read("parts", 8).reshape(-1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("suffix", ["", "_sized"])
def test_arithmetic_rounds_every_step(dtype, suffix):
    ending = {"": "", "_sized": "_32" if dtype is np.float16 else "_64"}[suffix]
    body = f"""
  const x = c.get_complex{ending}(parts[0], parts[1]);
  const y = c.get_complex{ending}(parts[2], parts[3]);
  const sum = c.add_complex{ending}(x, y);
  const difference = c.subtract_complex{ending}(x, y);
  const product = c.multiply_complex{ending}(x, y);
  parts[0] = sum.real; parts[1] = sum.imag;
  parts[2] = difference.real; parts[3] = difference.imag;
  parts[4] = product.real; parts[5] = product.imag;
"""
    rng = np.random.default_rng(0)
    for numbers in rng.normal(0, 3, (8, 8)).astype(dtype):
        found = parts_of(body, "", dtype, numbers)
        a, b, c, d = numbers[:4]
        expected = [a + c, b + d, a - c, b - d, a * c - b * d, a * d + b * c]
        assert found[:6].tolist() == np.array(expected, dtype).tolist()


def test_results_of_one_function_do_not_overwrite_each_other():
    body = """
  const one = c.get_complex(parts[0], parts[1]);
  const all = c.add_complex(c.multiply_complex(one, one), c.multiply_complex(one, swap(one)));
  parts[0] = all.real; parts[1] = all.imag;
  const nested = pair(one, all);
  parts[2] = nested.second.real; parts[3] = nested.first.imag;
"""
    declared = """
fn swap(x: anytype) @type_of(x) {
  return .{ .real = x.imag, .imag = x.real };
}
const zero = c.get_complex_64(0.0, 0.0);
const pair_type = @type_of(.{ .first = zero, .second = zero });
fn pair(x: c.complex_64, y: c.complex_64) pair_type {
  return .{ .first = x, .second = y };
}
"""
    found = parts_of(body, declared, np.float32, [3, 4, 0, 0, 0, 0, 0, 0])
    total = (3 + 4j) ** 2 + (3 + 4j) * (4 + 3j)
    assert found[:4].tolist() == [total.real, total.imag, total.real, 4.0]


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ("const z = wrong(parts[0]);", "also needs the field `imag`"),
        (
            "const x = c.get_complex(parts[0], parts[1]); const z = c.add_complex_32(x, x);",
            "the argument `x`",
        ),
    ],
)
def test_wrong_uses_are_refused(statements, message):
    declared = "fn wrong(x: f32) c.complex_64 { return .{ .real = x }; }\n"
    with pytest.raises(CompileError, match=message):
        parts_of(statements, declared, np.float32, [0] * 8)
