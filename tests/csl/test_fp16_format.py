"""Programs that compute with `bf16` or `cb16`: both engines against independent readers (M148).

`bf16` is read by PyTorch; of `cb16`, which no library has, all numbers are listed here from its
documented layout, and the nearest one is looked for.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import torch

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.errors import CompileError
from onewafer.image import ScalarType, load, save
from onewafer.simulator import Machine
from tests.simulator.arithmetic.oracle import BRAIN, CEREBRAS, multiply_add

LAYOUT = 'layout { @set_rectangle(1, 1); @set_tile_code(0, 0, "pe.csl", .{}); }'
START = """
comptime {
  @bind_local_task(main, @get_local_task_id(26));
  @activate(@get_local_task_id(26));
}
"""
LAYOUTS = {"bf16": BRAIN, "cb16": CEREBRAS}
FORMATS = {"bf16": ScalarType.BF16, "cb16": ScalarType.CB16}
NUM_NUMBERS = 48
MAX_CYCLES = 400_000

# --- independent readers -------------------------------------------------------------------------


@cache
def cb16_numbers():
    """All 2¹⁶ values by their bits: 1 bit of sign, 6 of exponent with bias 42, 9 of fraction."""
    words = np.arange(1 << 16)
    exponents, fractions = words >> 9 & 63, words & 511
    significands = np.where(exponents == 0, fractions, fractions + 512)
    values = np.ldexp(significands.astype(float), np.maximum(exponents, 1) - 42 - 9)
    values = np.where(exponents == 63, np.where(fractions == 0, np.inf, np.nan), values)
    return np.where(words >> 15, -values, values)


def cb16_bits(values):
    """The nearest number, the even one of two; what is beyond them is infinite."""
    finite = cb16_numbers()[: 63 << 9]
    edges = np.append((finite[1:] + finite[:-1]) / 2, finite[-1] + 2.0**10)
    magnitudes = np.abs(values)
    bits = np.searchsorted(edges, magnitudes)
    is_tie = np.isin(magnitudes, edges)
    bits = np.where(is_tie & (bits % 2 == 1), bits + 1, bits)
    bits = np.where(np.isnan(values), 0x7F00, bits)
    signs = np.where(np.signbit(values) & ~np.isnan(values), 0x8000, 0)
    return (bits | signs).astype(np.uint16)


def bf16_numbers():
    words = torch.arange(-(1 << 15), 1 << 15).to(torch.int16)
    values = words.view(torch.bfloat16).to(torch.float64).numpy()
    return np.concatenate([values[1 << 15 :], values[: 1 << 15]])


def bf16_bits(values):
    bits = torch.from_numpy(values).to(torch.float32).to(torch.bfloat16).view(torch.int16)
    return np.where(np.isnan(values), 0x7FC0, bits.numpy().view(np.uint16)).astype(np.uint16)


def f16_bits(values):
    return values.astype(np.float16).view(np.uint16)


NUMBERS = {"bf16": bf16_numbers, "cb16": cb16_numbers}
BITS = {"bf16": bf16_bits, "cb16": cb16_bits}

# --- running -------------------------------------------------------------------------------------


def compile_pe(text, half, folder=None):
    options = CompileOptions(
        entry="layout.csl",
        architecture=load_architecture("wse3"),
        uses_memcpy=False,
        half=FORMATS.get(half, ScalarType.F16),
    )
    text = text.replace("HALF", half).replace("COUNT", str(NUM_NUMBERS))
    image = compile_program(options, MemoryFiles({"layout.csl": LAYOUT, "pe.csl": text}))
    if folder is not None:
        save(image, folder)
        return load(folder)
    return image


def run(image, engine, inputs, outputs):
    """Return arrays of a program that got others; `outputs` have their dtypes."""
    machine = Machine(image, load_architecture("wse3"), engine=engine)
    for name, values in inputs.items():
        machine.poke(0, 0, machine.symbol(0, 0, name).address, values.tobytes())
    machine.run(max_cycles=MAX_CYCLES)
    results = {}
    for name, dtype in outputs.items():
        symbol = machine.symbol(0, 0, name)
        results[name] = np.frombuffer(machine.peek(0, 0, symbol.address, symbol.num_bytes), dtype)
    return results, machine.cycle


def operands(half):
    """Pairs of bits: the edges of the format, and random ones near to each other."""
    edge = int(BITS[half](np.array([1.0]))[0])
    infinity = int(BITS[half](np.array([np.inf]))[0])
    edges = [0, 1, 2, edge, edge + 1, infinity - 1, infinity, infinity + 1]
    rng = np.random.default_rng(5)
    near = rng.integers(edge - 2000, edge + 2000, NUM_NUMBERS - 2 * len(edges))
    words = np.array([*edges, *near, *reversed(edges)], np.uint16)
    signs = rng.integers(0, 2, NUM_NUMBERS).astype(np.uint16) << 15
    return words | signs, np.roll(words, 7) | np.roll(signs, 3)


def same(found, expected):
    """Tell whether bits are the same."""
    return found.tolist() == expected.tolist()


SCALARS = """
export var a: [COUNT]HALF = @zeros([COUNT]HALF);
export var b: [COUNT]HALF = @zeros([COUNT]HALF);
export var sums = @zeros([COUNT]HALF);
export var differences = @zeros([COUNT]HALF);
export var products = @zeros([COUNT]HALF);
export var quotients = @zeros([COUNT]HALF);
export var negated = @zeros([COUNT]HALF);
export var back = @zeros([COUNT]HALF);
export var wide = @zeros([COUNT]f32);
export var whole = @zeros([COUNT]i32);
export var short = @zeros([COUNT]i16);
export var of_whole = @zeros([COUNT]HALF);
export var of_short = @zeros([COUNT]HALF);
export var order = @zeros([COUNT]u16);
export var bits = @zeros([COUNT]u16);
task main() void {
  for (@range(i16, COUNT)) |i| {
    const x = a[i];
    const y: HALF = b[i];
    sums[i] = x + y;
    differences[i] = x - y;
    products[i] = x * y;
    quotients[i] = x / y;
    negated[i] = -x;
    wide[i] = @as(f32, x) + y;
    back[i] = @as(HALF, wide[i]);
    whole[i] = @as(i32, x);
    short[i] = @as(i16, y);
    of_whole[i] = @as(HALF, @as(i32, i) * i * 40503);
    of_short[i] = @as(HALF, @as(i16, 641) * i);
    var which: u16 = 0;
    if (x == y) which += 1;
    if (x != y) which += 2;
    if (x < y) which += 4;
    if (x <= y) which += 8;
    if (x > 1.5) which += 16;
    order[i] = which;
    bits[i] = @bitcast(u16, x);
  }
}
"""


def toward_zero(values, bits):
    """As CONVERT has it: the low bits of the number without its fraction, 0 of what is none."""
    wrapped = [int(v) % 2**bits if np.isfinite(v) else 0 for v in values]
    return np.array(wrapped, np.uint64).astype(f"u{bits // 8}").view(f"i{bits // 8}")


@pytest.mark.parametrize("half", FORMATS)
@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_scalars(half, engine, tmp_path):
    a, b = operands(half)
    x, y = NUMBERS[half]()[a], NUMBERS[half]()[b]
    to_bits = BITS[half]
    index = np.arange(NUM_NUMBERS)
    wide = (x + y).astype(np.float32)
    expected = {
        "sums": to_bits(x + y),
        "differences": to_bits(x - y),
        "products": to_bits(x * y),
        "quotients": to_bits(x / y),
        "negated": a ^ np.uint16(0x8000),
        "back": to_bits(wide.astype(float)),
        "whole": toward_zero(x, 32),
        "short": toward_zero(y, 16),
        "of_whole": to_bits((40503 * index * index).astype(np.int32).astype(float)),
        "of_short": to_bits((641 * index).astype(np.int16).astype(float)),
        "order": (x == y) + 2 * (x != y) + 4 * (x < y) + 8 * (x <= y) + 16 * (x > 1.5),
        "bits": a,
    }
    image = compile_pe(SCALARS + START, half, tmp_path)
    dtypes = dict.fromkeys(expected, np.uint16) | {"whole": np.int32, "short": np.int16}
    found, _ = run(image, engine, {"a": a, "b": b}, {**dtypes, "wide": np.uint32})
    for name, values in expected.items():
        assert same(found[name], values), name
    is_number = ~np.isnan(wide)
    assert same(found["wide"][is_number], wide.view(np.uint32)[is_number])
    assert set(found["wide"][~is_number].tolist()) == {0x7FC00000}


WIDE = """
export var numbers: [COUNT]i64 = @zeros([COUNT]i64);
export var rounded: [COUNT]HALF = @zeros([COUNT]HALF);
export var unsigned: [COUNT]HALF = @zeros([COUNT]HALF);
export var whole: [COUNT]i64 = @zeros([COUNT]i64);
task main() void {
  for (@range(i16, COUNT)) |i| {
    rounded[i] = @as(HALF, numbers[i]);
    unsigned[i] = @as(HALF, @bitcast(u64, numbers[i]) >> 1);
    whole[i] = @as(i64, rounded[i]);
  }
}
"""


@pytest.mark.parametrize("half", FORMATS)
def test_numbers_of_64_bits(half):
    """They are rounded once: to 8 bits from the 33 that a sum with a late one has, too."""
    rng = np.random.default_rng(7)
    places = np.arange(NUM_NUMBERS) * 63 // NUM_NUMBERS
    numbers = (1 << places) + (rng.integers(0, 256, NUM_NUMBERS) << places >> 7)
    numbers += (rng.integers(0, 2, NUM_NUMBERS) << places >> 8) + (places > 40)
    numbers = np.where(rng.integers(0, 2, NUM_NUMBERS), numbers, -numbers).astype(np.int64)
    image = compile_pe(WIDE + START, half)
    outputs = {"rounded": np.uint16, "unsigned": np.uint16, "whole": np.int64}
    found, _ = run(image, "reference", {"numbers": numbers}, outputs)

    def nearest(values):
        layout = LAYOUTS[half]
        bits = [layout.round(Fraction(value)) for value in values.tolist()]
        return np.array(bits, np.uint16)

    assert same(found["rounded"], nearest(numbers))
    assert same(found["unsigned"], nearest(numbers.view(np.uint64) >> np.uint64(1)))
    exact = NUMBERS[half]()[found["rounded"]]
    is_number = np.isfinite(exact)
    assert is_number.sum() > NUM_NUMBERS // 4
    assert same(found["whole"][is_number], exact[is_number].astype(np.int64))
    assert set(found["whole"][~is_number].tolist()) <= {0}


OPERATIONS = """
export var a: [COUNT]HALF = @zeros([COUNT]HALF);
export var b: [COUNT]HALF = @zeros([COUNT]HALF);
export var wide = @zeros([COUNT]f32);
export var numbers = @zeros([COUNT]i16);
export var faddh = @zeros([COUNT]HALF);
export var fsubh = @zeros([COUNT]HALF);
export var fmulh = @zeros([COUNT]HALF);
export var fmaxh = @zeros([COUNT]HALF);
export var fmovh = @zeros([COUNT]HALF);
export var fnegh = @zeros([COUNT]HALF);
export var fabsh = @zeros([COUNT]HALF);
export var fmach = @zeros([COUNT]HALF);
export var scaled = @zeros([COUNT]HALF);
export var fs2h = @zeros([COUNT]HALF);
export var xp162fh = @zeros([COUNT]HALF);
export var fh2xp16 = @zeros([COUNT]i16);
export var fh2s = @zeros([COUNT]f32);
export var faddhs = @zeros([COUNT]f32);
export var fmachs = @zeros([COUNT]f32);
export var total: HALF = 0.0;
fn of(comptime array: anytype) mem1d_dsd {
  return @get_dsd(mem1d_dsd, .{ .base_address = array, .extent = COUNT });
}
task main() void {
  @faddh(of(&faddh), of(&a), of(&b));
  @fsubh(of(&fsubh), of(&a), of(&b));
  @fmulh(of(&fmulh), of(&a), of(&b));
  @fmaxh(of(&fmaxh), of(&a), of(&b));
  @fmovh(of(&fmovh), 1.01);
  @fnegh(of(&fnegh), of(&a));
  @fabsh(of(&fabsh), of(&a));
  @fmach(of(&fmach), of(&a), of(&b), 1.375);
  @fscaleh(of(&scaled), of(&a), -3);
  @fs2h(of(&fs2h), of(&wide));
  @xp162fh(of(&xp162fh), of(&numbers));
  @fh2xp16(of(&fh2xp16), of(&a));
  @fh2s(of(&fh2s), of(&a));
  @faddhs(of(&faddhs), of(&wide), of(&a));
  @fmachs(of(&fmachs), of(&wide), of(&a), 1.375);
  @faddh(&total, total, of(&xp162fh));
}
"""


@pytest.mark.parametrize("half", FORMATS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_operations(half):
    a, b = operands(half)
    x, y = NUMBERS[half]()[a], NUMBERS[half]()[b]
    to_bits = BITS[half]
    rng = np.random.default_rng(6)
    wide = (rng.standard_normal(NUM_NUMBERS) * 2.0 ** rng.integers(-40, 20, NUM_NUMBERS)).astype(
        "f4"
    )
    numbers = rng.integers(-(1 << 15), 1 << 15, NUM_NUMBERS).astype(np.int16)
    bigger = np.where(np.isnan(x) | np.isnan(y), np.nan, np.maximum(x, y))
    total = 0.0
    for number in numbers.astype(float):
        total = NUMBERS[half]()[to_bits(total + NUMBERS[half]()[to_bits(np.array([number]))])][0]
    expected = {
        "faddh": to_bits(x + y),
        "fsubh": to_bits(x - y),
        "fmulh": to_bits(x * y),
        "fmaxh": to_bits(bigger),
        "fmovh": np.repeat(to_bits(np.array([1.01])), NUM_NUMBERS),
        "fnegh": a ^ np.uint16(0x8000),
        "fabsh": a & np.uint16(0x7FFF),
        "scaled": to_bits(x / 8),
        "fs2h": to_bits(wide.astype(float)),
        "xp162fh": to_bits(numbers.astype(float)),
        "fh2xp16": toward_zero(x, 16),
        "total": to_bits(np.array([total])),
    }
    dtypes = dict.fromkeys(expected, np.uint16) | {"fmach": np.uint16, "fh2xp16": np.int16}
    dtypes |= dict.fromkeys(("fh2s", "faddhs", "fmachs"), np.uint32)
    image = compile_pe(OPERATIONS + START, half)
    inputs = {"a": a, "b": b, "wide": wide, "numbers": numbers}
    (found, cycles), (fast, fast_cycles) = (
        run(image, engine, inputs, dtypes) for engine in ("reference", "fast")
    )
    for name in dtypes:
        assert same(found[name], fast[name]), name
    assert cycles == fast_cycles
    for name, bits in expected.items():
        assert same(found[name], bits), name
    for name, exact in {
        "fh2s": x,
        "faddhs": wide.astype(float) + x,
        "fmachs": wide.astype(float) + x * 1.375,
    }.items():
        single = exact.astype(np.float32).view(np.uint32)
        is_number = ~np.isnan(exact)
        assert same(found[name][is_number], single[is_number]), name
    factor = int(to_bits(np.array([1.375]))[0])
    fused = [
        multiply_add(LAYOUTS[half], LAYOUTS[half], *words, factor)
        for words in zip(a.tolist(), b.tolist(), strict=True)
    ]
    assert found["fmach"].tolist() == fused


# --- the language --------------------------------------------------------------------------------

REFUSED = [
    "export var x: OTHER = 0.5;\ntask main() void { x = 1.0; }",
    "task main() void { var x: OTHER = 0.5; x = 1.0; }",
    "export var x: [2]OTHER = @zeros([2]OTHER);\ntask main() void { x[0] = 1.0; }",
    "const S = struct { x: OTHER };\nexport var s = S{ .x = 1.0 };\ntask main() void { s.x = 2; }",
    "var w: u16 = 1;\ntask main() void { const p = @ptrcast(*OTHER, &w); p.* = 1.0; }",
    "export var y: f32 = 0.0;\nvar w: u16 = 1;\ntask main() void { y = @ptrcast(*OTHER, &w).*; }",
    "var w: i16 = 1;\nexport var y: f32 = 0.0;\ntask main() void { y = @as(OTHER, w); }",
    "var w: u16 = 1;\nexport var y: f32 = 0.0;\ntask main() void { y = @bitcast(OTHER, w); }",
    "export var w = true;\ntask main() void { _ = if (w) @as(OTHER, 1.0) else @as(OTHER, 2.0); }",
]


@pytest.mark.parametrize(("half", "other"), [("f16", "bf16"), ("bf16", "f16"), ("cb16", "bf16")])
@pytest.mark.parametrize("text", REFUSED)
def test_another_16_bit_float_exists_while_compiling_only(text, half, other):
    with pytest.raises(CompileError) as error:
        compile_pe(text.replace("OTHER", other) + START, half)
    (finding,) = error.value.diagnostics
    assert finding.code == "other-half-format"
    assert f"the 16-bit float of this program is `{half}`" in finding.message
    assert f"`--fp16-format={other}`" in finding.help


@pytest.mark.parametrize("half", FORMATS)
def test_complex_numbers_of_f16_are_refused_where_they_are_computed(half):
    """`complex_32` is of f16 as documented, whatever the program's float is."""
    text = """
      const m = @import_module("<complex>");
      var y: HALF = 0.5;
      task main() void { _ = m.get_complex_32(y, y); }
    """
    with pytest.raises(CompileError) as error:
        compile_pe(text + START, half)
    (finding,) = error.value.diagnostics
    assert finding.code == "other-half-format"
    assert finding.message.endswith(f"the 16-bit float of this program is `{half}`")
    assert finding.help == "call `get_complex_64`; or compile with `--fp16-format=f16`"
    span = finding.primary.span
    assert span.source.path == "pe.csl"
    shown = span.source.text[span.start : span.end]
    assert shown.startswith("m.get_complex_32")


@pytest.mark.parametrize("half", FORMATS)
@pytest.mark.parametrize(
    "place", ["{} task main() void {{ _ = c; }}", "task main() void {{ {} _ = c; }}"]
)
def test_a_variable_of_a_library_type_of_f16_is_refused_where_it_is_declared(place, half):
    declared = "var c = m.complex_32{ .real = 0.0, .imag = 1.0 };"
    text = 'const m = @import_module("<complex>");\n' + place.format(declared)
    with pytest.raises(CompileError) as error:
        compile_pe(text + START, half)
    (finding,) = error.value.diagnostics
    assert finding.code == "other-half-format"
    assert finding.primary.span.source.path == "pe.csl"


@pytest.mark.parametrize("half", ["f16", *FORMATS])
def test_constants_and_memory_of_f16_are_of_the_float_of_the_program(half):
    text = """
      const math = @import_module("<math>");
      const mem = @import_module("<malloc>", .{ .buffer_num_words = 8 });
      const random = @import_module("<random>");
      export var words = [3]HALF{ math.POSITIVE_INF_f16, math.NEGATIVE_INF_f16, math.NaN_f16 };
      export var same = @zeros([3]bool);
      export var kept: HALF = 0.0;
      export var drawn = @zeros([COUNT]HALF);
      comptime {
        @comptime_assert(@is_same_type(@type_of(math.NaN_f16), HALF));
        @comptime_assert(math.isInf_f16(math.NEGATIVE_INF_f16) and math.isNaN_f16(math.NaN_f16));
        @comptime_assert(!math.isFinite_f16(math.POSITIVE_INF_f16) and math.isFinite_f16(1.0));
      }
      task main() void {
        for (@range(i16, 3)) |i| {
          same[i] = @bitcast(u16, words[i]) == @bitcast(u16, ([3]HALF{
            math.POSITIVE_INF(HALF), math.NEGATIVE_INF(HALF), math.NaN(HALF) })[i]);
        }
        const first = mem.malloc_f16(COUNT / 16);
        first[2] = words[0];
        const next: [*]HALF = mem.malloc_f16(1);
        kept = next[-1];
        for (@range(i16, COUNT)) |i| {
          drawn[i] = random.random_f16(2.0, @bitcast(HALF, @bitcast(u16, @as(HALF, 2.0)) + 2));
        }
      }
    """
    outputs = dict.fromkeys(("words", "kept", "drawn"), np.uint16) | {"same": np.bool_}
    found, _ = run(compile_pe(text + START, half), "reference", {}, outputs)
    to_bits = BITS.get(half, f16_bits)
    assert same(found["words"], to_bits(np.array([np.inf, -np.inf, np.nan])))
    assert found["same"].all()
    assert found["kept"] == found["words"][0]
    two = int(to_bits(np.array([2.0]))[0])
    assert {*found["drawn"].tolist()} == {two, two + 1}


@pytest.mark.parametrize("half", FORMATS)
def test_library_functions_of_f16_give_known_values_in_any_program(half):
    text = """
      const math = @import_module("<math>");
      const complex = @import_module("<complex>");
      export var x: f32 = 0.0;
      task main() void {
        x = @as(f32, math.sqrt_f16(6.25)) + @as(f32, complex.get_complex_32(1.0, 4.0).imag);
      }
    """
    found, _ = run(compile_pe(text + START, half), "reference", {}, {"x": np.float32})
    assert found["x"] == [6.5]


@pytest.mark.parametrize("half", ["f16", *FORMATS])
def test_all_three_are_there_while_compiling(half):
    text = """
      const types = @import_module("<types>");
      comptime {
        @comptime_assert(@is_same_type(@fp16(), HALF));
        @comptime_assert(types.is_enabled_float(HALF) and types.is_enabled_float(f32));
        const brain: bf16 = 6.0;
        const cerebras: cb16 = 6.0;
        const ieee: f16 = 6.0;
        @comptime_assert(@bitcast(u16, brain) == 0x40c0 and @bitcast(u16, cerebras) == 0x5900);
        @comptime_assert(@bitcast(u16, ieee) == 0x4600 and ieee + 1.0 == 7.0);
      }
      fn half_of(x: f16) f16 { return x / 2.0; }
      export var y: HALF = @as(HALF, half_of(3.0));
      task main() void { y += @as(HALF, @as(f32, half_of(0.5))); }
    """
    found, _ = run(compile_pe(text + START, half), "reference", {}, {"y": np.uint16})
    assert same(found["y"], BITS.get(half, f16_bits)(np.array([1.75])))


MATH = """
const math = @import_module("<math>");
const ops = @import_module("<dsd_ops>");
export var x: [COUNT]HALF = @zeros([COUNT]HALF);
export var y: [COUNT]HALF = @zeros([COUNT]HALF);
export var named: [COUNT]HALF = @zeros([COUNT]HALF);
export var twice: [COUNT]HALF = @zeros([COUNT]HALF);
task main() void {
  for (@range(i16, COUNT)) |i| {
    y[i] = EXPRESSION;
    named[i] = NAMED;
  }
  const source = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{COUNT} -> x[i] });
  const sum = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{COUNT} -> twice[i] });
  _ = ops.add(HALF, HALF, sum, source, source, .{});
}
"""
FUNCTIONS = {
    "math.sqrt(x[i])": np.sqrt,
    "math.exp(x[i])": np.exp,
    "math.tanh(x[i])": np.tanh,
    "math.sig(x[i])": lambda x: np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))),
    "math.log(x[i])": np.log,
    "math.inv(x[i])": lambda x: 1 / x,
    "math.invsqrt(x[i])": lambda x: 1 / np.sqrt(x),
    "math.sin(x[i])": lambda x: np.where(np.abs(x) < 102_943, np.sin(x), np.nan),
    "math.cos(x[i])": lambda x: np.where(np.abs(x) < 102_943, np.cos(x), np.nan),
    "math.pow(x[i], 3.0)": lambda x: x**3,
    "math.floor(x[i])": np.floor,
    "math.ceil(x[i])": np.ceil,
    "math.abs(x[i])": np.abs,
    "math.sign(x[i])": lambda x: np.where(x == 0, x, np.sign(x)),
    "math.max(x[i], 2.0)": lambda x: np.where(x < 2.0, 2.0, x),
    "math.min(x[i], 2.0)": lambda x: np.where(x > 2.0, 2.0, x),
    "if (math.isNaN(x[i]) or math.signbit(x[i])) 1.0 else 0.0": lambda x: (
        np.isnan(x) | np.signbit(x)
    ).astype(float),
    "if (math.isInf(x[i])) math.NEGATIVE_INF(HALF) else math.fscale(x[i], 2)": lambda x: np.where(
        np.isinf(x), -np.inf, x * 4
    ),
    "math.fscale(x[i], -60)": lambda x: np.ldexp(x, -60),
    "math.fscale(x[i], 70)": lambda x: np.ldexp(x, 70),
    "if (math.isFinite(x[i])) 1.0 else math.fscale(x[i], -300)": lambda x: np.where(
        np.isfinite(x), 1.0, x
    ),
}


def named(expression):
    """The same with the functions of the program's 16-bit float by their names."""
    return re.sub(r"\b(math\.\w+)\(", r"\1_f16(", expression).replace("_f16(HALF)", "_f16")


@pytest.mark.parametrize("half", FORMATS)
@pytest.mark.parametrize("expression", FUNCTIONS)
@pytest.mark.alternate
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_functions_of_the_library(half, expression):
    """They are computed in f32 and rounded once: the nearest number, or one next to a tie."""
    words, _ = operands(half)
    words = np.where(np.isnan(NUMBERS[half]()[words]), words & 0x7FFF, words)
    exact = FUNCTIONS[expression](NUMBERS[half]()[words])
    text = MATH.replace("EXPRESSION", expression).replace("NAMED", named(expression))
    outputs = dict.fromkeys(("y", "named", "twice"), np.uint16)
    found, _ = run(compile_pe(text + START, half), "reference", {"x": words}, outputs)
    assert same(found["named"], found["y"])
    result, nearest = NUMBERS[half]()[found["y"]], NUMBERS[half]()[BITS[half](exact)]
    is_same = (result == nearest) | (np.isnan(result) & np.isnan(nearest))
    assert is_same.all()
    assert same(found["twice"], BITS[half](2 * NUMBERS[half]()[words]))


@pytest.mark.parametrize("half", ["f16", *FORMATS])
def test_nan_without_the_highest_bit_of_the_fraction_is_signaling(half):
    text = """
      const math = @import_module("<math>");
      export var x: [COUNT]HALF = @zeros([COUNT]HALF);
      export var generic = @zeros([COUNT]bool);
      export var named = @zeros([COUNT]bool);
      task main() void {
        for (@range(i16, COUNT)) |i| {
          generic[i] = math.isSignaling(x[i]);
          named[i] = math.isSignaling_f16(x[i]);
        }
      }
    """
    infinity, nan = BITS.get(half, f16_bits)(np.array([np.inf, np.nan])).tolist()
    words = [infinity, infinity + 1, nan - 1, nan, nan + 1, 0x7FFF, 0x8001 | infinity, 0x8000 | nan]
    outputs = dict.fromkeys(("generic", "named"), np.bool_)
    image = compile_pe(text + START, half)
    found, _ = run(image, "reference", {"x": np.array(words, np.uint16)}, outputs)
    is_signaling = [False, True, True, False, False, False, True, False]
    assert found["generic"][: len(words)].tolist() == is_signaling
    assert same(found["named"], found["generic"])
