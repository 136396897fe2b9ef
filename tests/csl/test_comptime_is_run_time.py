"""A function gives while compiling what it gives at run time.

Random functions are called with constants, and with variables that hold the same: what the compiler
computes and what the program of the same source computes, optimised and not, are readers of it.
"""

from __future__ import annotations

import re
import struct
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.simulator import Machine
from tests.csl.one_task import LAYOUT, START
from tests.csl.random_programs import Writer, grammar

NUM_STATEMENTS = 8

DECLARATIONS = """
const Kind = enum(u16) { A, B, C };
const Pair = struct { x: u16, y: i16, list: [2]u16 };
const Bits = packed struct { low: u3, high: u5 };
const Pick = struct { u: u16, v: i16 };
fn pick(n: u16) u16 { if (n < 3) return 7; return n; }
fn sum_to(n: u16) u16 { var t: u16 = 0; for (@range(u16, n)) |i| { t += i; } return t; }
fn twice(v: u16) u16 { return (v & 1023) * 2; }
fn negative(v: i16) i16 { return -v; }
fn size(v: i16) i16 { return if (v < 0) -v else v; }
fn larger(x: u16, y: u16) u16 { return if (x > y) x else y; }
fn made(x: u16, y: i16) Pair { return Pair{ .x = x, .y = y, .list = [2]u16{ x ^ 1, 9 } }; }
fn turned(v: [4]u16) [4]u16 {
  var r = v;
  for (v) |value, i| { r[(i + 1) & 3] = value; }
  return r;
}
fn work(a: u16, b: u16, c: i16, f: f32, q: bool, s: Pick) [32]u32 {
  var out = @zeros([32]u32);
  var n: u16 = 1;
  var w: u32 = 70000;
  var list = [4]u16{ a, 1, b, 7 };
  var grid = @zeros([2, 3]u16);
  var shorts = [3]i16{ c, -2, 5 };
  var floats = [3]f32{ f, 2.0, 0.25 };
  var pair = made(a, c);
  var pairs = [2]Pair{ made(b, 4), made(3, c) };
  var bits = Bits{ .low = 5, .high = 9 };
  BODY
  out[0] ^= @as(u32, n);
  out[1] ^= w;
  for (list) |value, i| { out[i + 2] ^= @as(u32, value); }
  for (shorts) |value, i| { out[i + 6] ^= @as(u32, @bitcast(u16, value)); }
  for (floats) |value, i| { out[i + 9] ^= @bitcast(u32, value); }
  for (pairs) |value, i| { out[i + 12] ^= @as(u32, value.x ^ value.list[0] ^ value.list[1]); }
  out[14] ^= @as(u32, pair.x ^ pair.list[0] ^ pair.list[1]);
  out[15] ^= @as(u32, @bitcast(u16, pair.y ^ pairs[0].y ^ pairs[1].y));
  out[16] ^= @as(u32, grid[0, 0] ^ grid[0, 2] ^ grid[1, 1]);
  out[17] ^= @as(u32, @as(u16, bits.low));
  out[18] ^= @as(u32, @as(u16, bits.high));
  return out;
}
"""
ARGUMENTS = ("u16", "u16", "i16", "f32", "bool", "Pick")

# No number leaves its type: that is an error while compiling, and wraps at run time.
GRAMMAR = grammar(
    {
        "U": """
    a
    b
    s.u
    n
    list[1]
    pair.x
    @as(u16, 3)
    @as(u16, q)

    (U + U)
    (U * U & 63)
    (U ^ U)
    (U | U)
    (U % 7)
    (U / 3)
    ((U & 63) << 2)
    (U >> (U & 3))
    (~U & 255)
    ((U | 32) - (U & 31))
    (if (C) U else U)
    list[U % 4]
    grid[U % 2, U % 3]
    pairs[U % 2].x
    pairs[U % 2].list[U % 2]
    pick(U)
    sum_to(U % 9)
    twice(U)
    made(U, I).x
    made(U, I).list[1]
    turned(list)[U % 4]
    @bitcast(u16, I)
    @as(u16, C)
    @as(u16, bits.low)
    @as(u16, @as(u8, U & 127))
    @as(u16, @as(u32, U) * 3 & 1023)
    @as(u16, @as(Kind, U % 3))
    @as(u16, @as(u5, U & 15) + 3)
    switch (U) { 0 => U, 1, 2 => @as(u16, 5), else => U }
    switch (@as(Kind, U % 3)) { Kind.A => U, else => U }
    (L: { if (C) break :L U; break :L U; })
    @as(u16, w & 1023)
    @as(u16, @as(u64, U) << 20 >> 22)
    larger(U, U)
    larger(U, U)""",
        "I": """
    c
    -c
    shorts[0]
    pair.y
    @as(i16, -4)

    (I + I)
    (I - I)
    (I * 3 % 50)
    (I / 3)
    (I >> 1)
    (if (C) I else I)
    shorts[U % 3]
    pairs[U & 1].y
    negative(I)
    size(I)
    @as(i16, U & 63)
    @as(i16, @as(i32, I) - 70000 + 70003)
    @as(i16, @as(f32, I) * 0.5)
    @as(i16, @as(i7, @as(i16, I % 30)))
    @bitcast(i16, U)""",
        "F": """
    f
    -f
    floats[1]
    @as(f32, 1.5)

    (F + F)
    (F - F)
    (F * F)
    (if (C) F else F)
    floats[U % 3]
    @as(f32, I)
    @as(f32, U)
    @as(f32, @as(f16, I))
    @as(f32, w & 4095)""",
        "C": """
    q
    !q
    (a == 3)
    (b < 2)
    (c < 0)

    (U == U)
    (U != U)
    (U < U)
    (U >= U)
    (I < I)
    (F < F)
    (C and C)
    (C or C)
    (C == C)
    !(C)
    (@as(Kind, U % 3) == Kind.B)""",
        "S": """
    out[N] = @as(u32, U);
    out[N] = @as(u32, @bitcast(u16, I));
    out[N] = @bitcast(u32, F);
    out[N] ^= @as(u32, U);
    n = U & 1023;
    w = w ^ @as(u32, U);
    w += @as(u32, U);
    list[U % 4] = U & 511;
    list = turned(list);
    list = [4]u16{ U & 63, list[0], 2, list[1] };
    grid[U % 2, U % 3] = U & 511;
    shorts[U % 3] = I % 100;
    floats[U % 3] = F;
    pair.x = U & 511;
    pair.y = I % 100;
    pair = pairs[U % 2];
    pair = made(U & 255, I % 50);
    pairs[U % 2] = pair;
    pairs[U % 2].list[U % 2] = U & 255;
    bits.low = @as(u3, U & 7);
    bits = Bits{ .low = 2, .high = @as(u5, U & 31) };

    if (C) { S }
    if (C) { S } else { S S }
    switch (U & 3) { 0 => { S }, 1, 3 => { S }, else => { S S } }
    for (@range(u16, U % 6)) |V| { S }
    for (@range(i16, @as(i16, 0), @as(i16, U % 9), @as(i16, 2))) |_| { if (C) break; S }
    for (list) |V| { if (C) continue; S }
    for ([2]u16{ a, 3 }) |V| { S S }
    { var V: u16 = U; S V = V + 1 & 255; S }
    { var V: u16 = U & 3; while (V < U % 9) : (V += 1) { S } }
    L: { S if (C) break :L; S }""",
    }
)


def draw_arguments(random: Random) -> tuple[str, ...]:
    """Return constants for the parameters of `work`."""
    return (
        str(random.randint(0, 9)),
        str(random.randint(0, 4)),
        str(random.randint(-9, 9)),
        str(random.choice((0.5, -1.25, 3.0))),
        random.choice(("true", "false")),
        f"Pick{{ .u = {random.randint(0, 5)}, .v = -2 }}",
    )


def result_of(source: str, *, optimizes: bool = True) -> tuple[int, ...]:
    """Run a program of one PE and return its variable `got`."""
    architecture = load_architecture("wse3")
    options = CompileOptions(
        entry="layout.csl", architecture=architecture, uses_memcpy=False, optimizes=optimizes
    )
    files = MemoryFiles({"layout.csl": LAYOUT, "pe.csl": source + START})
    machine = Machine(compile_program(options, files), architecture, engine="fast")
    machine.run(max_cycles=400_000)
    symbol = machine.symbol(0, 0, "got")
    return struct.unpack("<32I", machine.peek(0, 0, symbol.address, symbol.num_bytes))


# Shrinking a random program through its seed leads nowhere: a failure is replayed by it.
@settings(phases=(Phase.explicit, Phase.reuse, Phase.generate), max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_known_and_late_results_are_the_same(seed: int) -> None:
    random = Random(seed)  # noqa: S311
    writer = Writer(random, GRAMMAR)
    body = "\n  ".join(writer.write("S", 3) for _ in range(NUM_STATEMENTS))
    work = DECLARATIONS.replace("BODY", body)
    arguments = draw_arguments(random)
    known = f"const known: [32]u32 = work({', '.join(arguments)});\nvar got = known;"
    variables = "\n".join(
        f"var x{i}: {type_} = {value};"
        for i, (type_, value) in enumerate(zip(ARGUMENTS, arguments, strict=True))
    )
    call = f"got = work({', '.join(f'x{i}' for i in range(len(arguments)))});"
    late = f"{variables}\nvar got: [32]u32;\ntask main() void {{ {call} }}"
    use = "task main() void { got[0] = got[0]; }"
    expected = result_of(f"{work}{known}\n{use}")
    assert expected == result_of(work + late), work
    assert expected == result_of(work + late, optimizes=False), work


BITS = {"f16": 16, "f32": 32}
VALUES = {
    "f16": (0x0000, 0x8000, 0x0001, 0x3C00, 0xBC00, 0x4280, 0x7BFF, 0x7C00, 0xFC00, 0x7E00, 0xFC2E),
    "f32": (0, 1 << 31, 1, 0x3F800000, 0xC0000000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000, 0xFFC00001),
}
NUMBERS = """
    x + y
    x - y
    x * y
    -x
    math.abs(x)
    math.ceil(x)
    math.cos(x)
    math.exp(x)
    math.floor(x)
    math.inv(x)
    math.invsqrt(x)
    math.log(x)
    math.max(x, y)
    math.min(x, y)
    math.pow(x, y)
    math.sig(x)
    math.sign(x)
    math.sin(x)
    math.sqrt(x)
    math.tanh(x)
    @as(T, @as(f16, x))
    @as(T, @as(f32, x))
    @as(T, @as(i16, x))
    @as(T, @as(u32, x))
    @as(T, @as(i64, x))
    @as(T, @as(u5, x))"""
TESTS = """
    x < y
    x <= y
    x == y
    x != y
    math.signbit(x)
    math.isNaN(x)
    math.isInf(x)
    math.isFinite(x)
    math.isSignaling(x)"""


INTEGERS = re.compile(r"@as\([iu]")
EXPONENTS = {"f16": 0x7C00, "f32": 0x7F80_0000}


def draw_bits(random: Random, type_: str, *, is_finite: bool) -> str:
    """Return a number of any bits, special ones more often."""
    while True:
        known = random.choice(VALUES[type_])
        bits = random.choice((known, known + 1, random.getrandbits(BITS[type_])))
        if not is_finite or ~bits & EXPONENTS[type_]:
            return f"@bitcast({type_}, @as(u{BITS[type_]}, {bits % (1 << BITS[type_])}))"


def write_operation(random: Random, number: int) -> tuple[str, str, str]:
    """Return declarations, and a call of the same function with constants and with variables."""
    type_ = random.choice(("f16", "f32"))
    if random.random() < 0.7:
        form = random.choice(NUMBERS.splitlines()[1:]).strip().replace("(T", f"({type_}")
        is_finite = INTEGERS.search(form) is not None  # no integer stands for the others
        result = f"@as(u32, @bitcast(u{BITS[type_]}, {form}))"
    else:
        is_finite = False
        result = f"@as(u32, {random.choice(TESTS.splitlines()[1:]).strip()})"
    x, y = (draw_bits(random, type_, is_finite=is_finite) for _ in range(2))
    name = f"work{number}"
    declared = (
        f"fn {name}(x: {type_}, y: {type_}) u32 {{ return {result}; }}\n"
        f"var x{number}: {type_} = {x};\nvar y{number}: {type_} = {y};"
    )
    return declared, f"comptime {name}({x}, {y})", f"{name}(x{number}, y{number})"


@settings(phases=(Phase.explicit, Phase.reuse, Phase.generate), max_examples=10, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_known_and_late_floats_have_the_same_bits(seed: int) -> None:
    random = Random(seed)  # noqa: S311
    operations = [write_operation(random, number) for number in range(32)]
    declared = "\n".join(text for text, _, _ in operations)
    results = [
        result_of(
            f'const math = @import_module("<math>");\n{declared}\nvar got: [32]u32;\n'
            f"task main() void {{ {' '.join(f'got[{i}] = {call};' for i, call in calls)} }}"
        )
        for calls in (
            enumerate(known for _, known, _ in operations),
            enumerate(late for _, _, late in operations),
        )
    ]
    assert results[0] == results[1], declared
