"""Functions, activations, products and scaling on one PE, bit for bit as `mesh/functions.py`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.mesh import arithmetic, functions
from tests.mesh.one_pe import Array, OnePe, load_one_pe
from tests.mesh.strategies import assert_same_bits

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ARCHES = ["wse2", "wse3"]
ELEMENTS = ["f16", "f32"]
DTYPES = {"f16": np.float16, "f32": np.float32}
WORDS = {"f16": np.uint16, "f32": np.uint32}
SINGLES = ["exponential", "exponential_for_half", "rsqrt"]
ACTIVATIONS = ["sigmoid", "tanh", "silu", "gelu", "gelu_tanh"]
MOST = 200  # three chunks, and a fourth of 8
SPECIAL = [0, -0.0, np.inf, -np.inf, np.nan, 6e-8, -6e-8, 1, -1, 88, -88, -104, 6e4, 1e-42, -3e38]
SPECIAL += [1.2121435e-38]  # half of it is subnormal
BODY = """
const functions = @import_module("functions.csl");
const activation = @import_module("activation_functions.csl", .{
  .element = ELEMENT, .functions = functions });
const multiply_kernel = @import_module("multiply.csl", .{ .element = ELEMENT });
const scale_kernel = @import_module("scale.csl", .{ .element = ELEMENT, .functions = functions });
const softplus_kernel = @import_module("softplus.csl", .{
  .element = ELEMENT, .functions = functions });
const rsqrt_kernel = @import_module("rsqrt.csl");

fn exponential(n: u16) void {
  functions.exponential(@set_dsd_length(singles_dsd, n), n);
  sys_mod.unblock_cmd_stream();
}
fn exponential_for_half(n: u16) void {
  functions.exponential_for_half(@set_dsd_length(singles_dsd, n), n);
  sys_mod.unblock_cmd_stream();
}
fn rsqrt(n: u16) void {
  for (@range(u16, n)) |i| {
    singles[i] = rsqrt_kernel.rsqrt(singles[i]);
  }
  sys_mod.unblock_cmd_stream();
}
fn multiply(n: u16) void {
  multiply_kernel.run(@set_dsd_length(result_dsd, n), @set_dsd_length(input_dsd, n),
                      @set_dsd_length(other_dsd, n));
  sys_mod.unblock_cmd_stream();
}
fn softplus(n: u16, beta: f32, threshold: f32, inverse: f32) void {
  const input = @set_dsd_length(input_dsd, n);
  softplus_kernel.run(@set_dsd_length(result_dsd, n), input, beta, threshold, inverse, n);
  softplus_kernel.run(input, input, beta, threshold, inverse, n);
  sys_mod.unblock_cmd_stream();
}
fn scale(n: u16, factor: f32) void {
  scale_kernel.run(@set_dsd_length(result_dsd, n), @set_dsd_length(input_dsd, n), n, factor);
  scale_kernel.run(@set_dsd_length(input_dsd, n), @set_dsd_length(input_dsd, n), n, factor);
  sys_mod.unblock_cmd_stream();
}
"""
ACTIVATION = """
fn NAME(n: u16) void {
  activation.NAME(@set_dsd_length(result_dsd, n), @set_dsd_length(input_dsd, n), n);
  activation.NAME(input_dsd, input_dsd, n);
  sys_mod.unblock_cmd_stream();
}
"""


@cache
def load(arch: str, element: str) -> OnePe:
    """Compile the kernels for one generation and storage type."""
    arrays = {name: Array(element, MOST) for name in ("input", "other", "result")}
    arrays["singles"] = Array("f32", MOST)
    launches = dict.fromkeys([*SINGLES, "multiply", *ACTIVATIONS], "u16")
    launches |= {"scale": "u16, f32", "softplus": "u16, f32, f32, f32"}
    body = BODY + "".join(ACTIVATION.replace("NAME", name) for name in ACTIVATIONS)
    return load_one_pe(load_architecture(arch), arrays, launches, body.replace("ELEMENT", element))


@st.composite
def vectors(draw: st.DrawFn) -> tuple[int, np.random.Generator, list[float]]:
    """Draw a length, a generator for `numbers`, and what comes first."""
    special = draw(st.lists(st.sampled_from(SPECIAL), max_size=8))
    return draw(st.integers(1, MOST)), np.random.default_rng(draw(st.integers(0, 99))), special


def numbers(
    element: str, generator: np.random.Generator, special: list[float] = SPECIAL
) -> NDArray[Any]:
    """Return special numbers, arbitrary bits and ordinary ones."""
    words = generator.integers(0, np.iinfo(WORDS[element]).max, MOST // 4, WORDS[element])
    plain = generator.standard_normal(MOST) * 10 ** generator.uniform(-3, 2, MOST)
    with np.errstate(over="ignore"):
        parts = [np.asarray(part, DTYPES[element]) for part in (special, plain)]
    parts.insert(1, words.view(DTYPES[element]))
    return np.concatenate(parts)[:MOST]


def stored(values: NDArray[np.float32], element: str) -> NDArray[Any]:
    return arithmetic.round_to_half(values) if element == "f16" else values


def function_of(name: str, element: str) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return what the kernel does; some have a form for what is rounded to f16."""
    own = f"{name}_for_half" if element == "f16" else name
    return getattr(functions, own, None) or getattr(functions, name)


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("name", ACTIVATIONS)
@given(vector=vectors())
def test_activations(arch, element, name, vector):
    (n, generator, special), pe = vector, load(arch, element)
    values = numbers(element, generator, special)
    pe.write("input", values)
    pe.write("result", values)
    pe.launch(name, n)
    computed = stored(function_of(name, element)(values[:n].astype(np.float32)), element)
    expected = np.concatenate([computed, values[n:]])
    assert_same_bits(pe.read("result", MOST), expected)
    assert_same_bits(pe.read("input", MOST), expected)


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("name", SINGLES)
@given(vector=vectors())
def test_functions_of_single_numbers(arch, name, vector):
    (n, generator, special), pe = vector, load(arch, "f32")
    values = numbers("f32", generator, special)
    if name == "exponential":
        values = np.where(values > 177, np.float32(0.5), values)
    if name == "exponential_for_half":
        values = np.where(values > 0, np.float32(-0.5), values)
    pe.write("singles", values)
    pe.launch(name, n)
    expected = np.concatenate([getattr(functions, name)(values[:n]), values[n:]])
    assert_same_bits(pe.read("singles", MOST), expected)


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("element", ELEMENTS)
@given(vector=vectors())
def test_products(arch, element, vector):
    (n, generator, special), pe = vector, load(arch, element)
    left, right = numbers(element, generator, special), numbers(element, generator)
    for name, values in (("input", left), ("other", right), ("result", left)):
        pe.write(name, values)
    pe.launch("multiply", n)
    expected = np.concatenate([arithmetic.multiply(left[:n], right[:n]), left[n:]])
    assert_same_bits(pe.read("result", MOST), expected)


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("factor", [0.125, 0.08838835, -3e5, np.inf])
def test_scaling(arch, element, factor):
    pe, generator = load(arch, element), np.random.default_rng(1)
    for n in (1, 64, 65, MOST):
        values = numbers(element, generator)
        pe.write("input", values)
        pe.write("result", values)
        pe.launch("scale", n, np.float32(factor))
        scaled = arithmetic.multiply(values[:n].astype(np.float32), np.float32(factor))
        expected = np.concatenate([stored(scaled, element), values[n:]])
        assert_same_bits(pe.read("result", MOST), expected)
        assert_same_bits(pe.read("input", MOST), expected)


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("element", ELEMENTS)
@given(
    vector=vectors(),
    beta=st.sampled_from([1.0, -0.3, 2.5, 40.0]),
    threshold=st.sampled_from([20.0, 0.0, 1.5, np.inf]),
)
@pytest.mark.alternate
def test_softplus(arch, element, vector, beta, threshold):
    (n, generator, special), pe = vector, load(arch, element)
    values = numbers(element, generator, special)
    pe.write("input", values)
    pe.write("result", values)
    pe.launch("softplus", n, *(np.float32(number) for number in (beta, threshold, 1 / beta)))
    found = functions.softplus(values[:n].astype(np.float32), beta, threshold)
    expected = np.concatenate([stored(found, element), values[n:]])
    assert_same_bits(pe.read("result", MOST), expected)
    assert_same_bits(pe.read("input", MOST), expected)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_f16_number(name):
    pe = load("wse3", "f16")
    words = np.arange(1 << 16, dtype=np.uint16)
    for chunk in np.array_split(words, -(-len(words) // MOST)):
        values = chunk.view(np.float16)
        pe.write("input", np.resize(values, MOST))
        pe.launch(name, len(values))
        expected = function_of(name, "f16")(values.astype(np.float32))
        assert_same_bits(pe.read("result", len(values)), stored(expected, "f16"))


MOST_CYCLES = {
    "wse2": {"exponential": 30, "exponential_for_half": 20, "rsqrt": 100}
    | dict.fromkeys(ACTIVATIONS, 60),
    "wse3": {"exponential": 25, "exponential_for_half": 15, "rsqrt": 100}
    | dict.fromkeys(ACTIVATIONS, 45),
}


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("name", [*SINGLES, *ACTIVATIONS])
def test_cycles_of_one_more_number(arch, name):
    device = load(arch, "f32").device
    long, short = (device.launch(name, n).cycles for n in (192, 128))
    calls = 2 if name in ACTIVATIONS else 1
    assert (long - short) / (64 * calls) <= MOST_CYCLES[arch][name]
