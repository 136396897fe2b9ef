"""Integers of up to 64 bits compute at run time what they are as exact numbers.

Random expressions of random types of 1 to 64 bits are written as CSL and as Python's integers,
reduced to the width; both engines have to agree with these. Operands lie wherever values can lie.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.simulator import Machine
from tests.csl.library.one_pe import compile_pe, device_of
from tests.csl.test_narrow_integers import BINARY, DIVISION, SHIFTS, START, Width, run_program

if TYPE_CHECKING:
    from collections.abc import Callable

NUM_RESULTS = 12
NUM_LINES = 40
DEPTH = 3
U16, U32, U64, I64 = (Width(*w) for w in ((16, False), (32, False), (64, False), (64, True)))
COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "<": int.__lt__,
    "<=": int.__le__,
    ">": int.__gt__,
    ">=": int.__ge__,
    "==": int.__eq__,
    "!=": int.__ne__,
}
EDGES = (0, 1, -1, 2, 10, 1 << 15, 1 << 16, 1 << 31, 1 << 32, (1 << 32) - 1, 1 << 63, 1 << 47)


def draw_width(random: Random) -> Width:
    bits = random.choice((random.randint(1, 64), random.randint(33, 64), 64, 64, 32))
    return Width(bits, random.choice((False, True)))


def draw_number(random: Random, width: Width) -> int:
    if random.random() < 0.4:
        return width.wrap(random.choice(EDGES) + random.choice((0, 0, 1, -1)))
    return width.wrap(random.getrandbits(64) >> random.randint(0, 63))


def to_float(number: int, *, bits: int, largest: int) -> Fraction | None:
    """Return a number rounded to nearest even; None: it is infinite."""
    size = abs(number)
    unit = 1 << max(size.bit_length() - bits, 0)
    quotient, rest = divmod(size, unit)
    quotient += 2 * rest > unit or (2 * rest == unit and quotient % 2 == 1)
    rounded = quotient * unit
    return None if rounded > largest else Fraction(rounded if number >= 0 else -rounded)


@dataclass
class Program:
    """Declarations of what expressions read, and the statements that compute them."""

    random: Random
    globals: list[str] = field(default_factory=list[str])
    statements: list[str] = field(default_factory=list[str])
    expected: list[int] = field(default_factory=list[int])
    passing: set[str] = field(default_factory=set[str])
    count: int = 0

    def name(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    # --- expressions: text and number ------------------------------------------------------------

    def known(self, width: Width) -> tuple[str, int]:
        number = draw_number(self.random, width)
        return f"@as({width}, {number})", number

    def variable(self, width: Width) -> tuple[str, int]:
        """Return a value that only run time knows, somewhere in memory or in registers."""
        number, name = draw_number(self.random, width), self.name("v")
        match self.random.randrange(6):
            case 0:
                self.globals.append(f"var {name} = [3]{width}{{ 0, {number}, 0 }};")
                return f"{name}[one]", number
            case 1:
                fields = f"a: u8, b: {width}, c: {width}"
                values = f".a = 1, .b = {number}, .c = 0"
                self.globals.append(f"var {name} = struct {{ {fields} }}{{ {values} }};")
                return f"{name}.b", number
            case 2:
                self.globals.append(f"var {name}: {width} = {number};")
                self.globals.append(f"var {name}_at: *{width} = &{name};")
                return f"{name}_at.*", number
            case 3:
                self.globals.append(f"var {name}_from: {width} = {number};")
                self.statements.append(f"const {name} = {name}_from;")
                return name, number
            case 4:
                self.globals.append(f"var {name}: {width} = {number};")
                passing = self.random.choice(("pass", "inline_pass"))
                inline = "inline " if passing == "inline_pass" else ""
                parameters = f"n: u16, x: {width}"
                body = f"{{ return x + @as({width}, 0 * n); }}"
                self.passing.add(f"{inline}fn {passing}_{width}({parameters}) {width} {body}")
                return f"{passing}_{width}(one, {name})", number
            case _:
                self.globals.append(f"var {name}: {width} = {number};")
                return name, number

    def operand(self, width: Width, depth: int) -> tuple[str, int]:
        return self.known(width) if self.random.random() < 0.2 else self.expression(width, depth)

    def expression(self, width: Width, depth: int) -> tuple[str, int]:
        """Return an expression whose leftmost operand only run time knows."""
        if depth == 0:
            return self.variable(width)
        kinds = (
            *(self.arithmetic, self.arithmetic, self.division, self.shift, self.unary),
            *(self.converted, self.bitcast, self.choice, self.through_float, self.from_float),
        )
        text, number = self.random.choice(kinds)(width, depth - 1)
        return f"({text})", width.wrap(number)

    def arithmetic(self, width: Width, depth: int) -> tuple[str, int]:
        symbol = self.random.choice(tuple(BINARY))
        (a, x), (b, y) = self.expression(width, depth), self.operand(width, depth)
        return f"{a} {symbol} {b}", BINARY[symbol](x, y)

    def division(self, width: Width, depth: int) -> tuple[str, int]:
        symbol = self.random.choice(tuple(DIVISION))
        (a, x), (b, y) = self.expression(width, depth), self.expression(width, depth)
        number = DIVISION[symbol](x, y) if y else 0 if symbol == "/" else x
        if self.random.random() < 0.3 and (y := draw_number(self.random, width)):
            b, number = f"@as({width}, {y})", DIVISION[symbol](x, y)
        return f"{a} {symbol} {b}", number

    def shift(self, width: Width, depth: int) -> tuple[str, int]:
        a, x = self.expression(width, depth)
        edges = (0, 1, 31, 32, 33, 63, 64, width.bits)
        count = self.random.choice((*edges, self.random.randrange(70)))
        by = Width(self.random.choice((8, 16, 32, 64, 48)), is_signed=False)
        text = f"{count}"
        if self.random.random() < 0.6:
            text = self.name("n")
            self.globals.append(f"var {text}: {by} = {count};")
        if self.random.random() < 0.5:
            return f"{a} << {text}", x << count
        return f"{a} >> {text}", x >> count

    def unary(self, width: Width, depth: int) -> tuple[str, int]:
        a, x = self.expression(width, depth)
        return (f"-{a}", -x) if self.random.random() < 0.5 else (f"~{a}", ~x)

    def converted(self, width: Width, depth: int) -> tuple[str, int]:
        a, x = self.expression(draw_width(self.random), depth)
        return f"@as({width}, {a})", x

    def bitcast(self, width: Width, depth: int) -> tuple[str, int]:
        a, x = self.expression(Width(width.bits, not width.is_signed), depth)
        return f"@bitcast({width}, {a})", x

    def choice(self, width: Width, depth: int) -> tuple[str, int]:
        test, is_so = self.comparison(depth)
        (a, x), (b, y) = self.expression(width, depth), self.operand(width, depth)
        return f"if ({test}) {a} else {b}", x if is_so else y

    def comparison(self, depth: int) -> tuple[str, bool]:
        width = draw_width(self.random)
        symbol = self.random.choice(tuple(COMPARISONS))
        (a, x), (b, y) = self.expression(width, depth), self.operand(width, depth)
        return f"{a} {symbol} {b}", COMPARISONS[symbol](x, y)

    def through_float(self, width: Width, depth: int) -> tuple[str, int]:
        a, x = self.expression(draw_width(self.random), depth)
        half = self.random.random() < 0.3
        bits, largest = (11, 65504) if half else (24, 1 << 127)
        rounded = to_float(x, bits=bits, largest=largest)
        text = f"@as({width}, @as({'f16' if half else 'f32'}, {a}))"
        return text, 0 if rounded is None else int(rounded)

    def from_float(self, width: Width, depth: int) -> tuple[str, int]:
        del depth
        word = self.random.getrandbits(32)
        if self.random.random() < 0.8:
            word = word & ~(0xFF << 23) | self.random.randint(120, 195) << 23
        (value,) = struct.unpack("<f", struct.pack("<I", word))
        name = self.name("real")
        self.globals.append(f"var {name}: u32 = {word};")
        is_finite = word >> 23 & 0xFF != 0xFF
        # Words of 32 bits take the low bits of what is less than 2**62 only.
        number = int(value) if is_finite and (width.bits > 32 or abs(value) < 2**62) else 0
        return f"@as({width}, @bitcast(f32, {name}))", number

    # --- statements ------------------------------------------------------------------------------

    def result(self) -> None:
        """Compute a number into a variable, and its two words into `out`."""
        width, name = draw_width(self.random), self.name("m")
        place, number = self.place(width, name)
        depth = self.random.randrange(DEPTH + 1)
        match self.random.randrange(5):
            case 0 | 1:
                symbol = self.random.choice(tuple(BINARY))
                text, change = self.operand(width, depth)
                self.statements.append(f"{place} {symbol}= {text};")
                number = width.wrap(BINARY[symbol](number, change))
            case 2 if width.bits > 3:
                number = self.loop(width, place)
            case 3:
                number = self.switch(width, place)
            case _:
                text, number = self.operand(width, depth)
                self.statements.append(f"{place} = {text};")
        index = len(self.expected)
        self.statements.append(f"out[{index}] = @as(u32, {place});")
        self.statements.append(f"out[{index + 1}] = @as(u32, @as(i64, {place}) >> 32);")
        self.expected += [number & 0xFFFFFFFF, number >> 32 & 0xFFFFFFFF]

    def place(self, width: Width, name: str) -> tuple[str, int]:
        number = draw_number(self.random, width)
        match self.random.randrange(3):
            case 0:
                self.globals.append(f"var {name}: {width} = {number};")
                return name, number
            case 1:
                self.globals.append(f"var {name} = [2]{width}{{ 0, {number} }};")
                return f"{name}[one]", number
            case _:
                self.statements.append(f"var {name}: {width} = {number};")
                return name, number

    def loop(self, width: Width, place: str) -> int:
        """Sum what a range goes over."""
        low = draw_number(self.random, width)
        step, rounds = self.random.randint(1, 5), self.random.randint(0, 4)
        high = min(low + step * rounds, width.maximum)
        bounds = f"{low}, {high}"
        if self.random.random() < 0.5:
            names = self.name("b"), self.name("b")
            for name, bound in zip(names, (low, high), strict=True):
                self.globals.append(f"var {name}: {width} = {bound};")
            bounds = ", ".join(names)
        loop = f"for (@range({width}, {bounds}, {step})) |i|"
        self.statements += [f"{place} = 0;", f"{loop} {{ {place} = {place} * 3 + i; }}"]
        total = 0
        for number in range(low, high, step):
            total = width.wrap(total * 3 + number)
        return total

    def switch(self, width: Width, place: str) -> int:
        """Choose by a number."""
        text, number = self.expression(width, 1)
        others = {draw_number(self.random, width), width.wrap(number + (1 << 32))}
        first, *rest = others - {number} or {width.wrap(number + 1)}
        arms = [f"{first} => {place} = 0,"]
        taken = self.random.random() < 0.7
        if taken:
            arms.append(f"{', '.join(map(str, (*rest, number)))} => {place} = {width.wrap(1)},")
        self.random.shuffle(arms)
        chosen = -1 if width.is_signed else width.wrap(-2)
        arms.append(f"else => {place} = {chosen},")
        self.statements.append(f"switch ({text}) {{ {' '.join(arms)} }}")
        return width.wrap(1) if taken else chosen

    @property
    def source(self) -> str:
        lines = "\n  ".join(self.statements)
        head = [f"var out = @zeros([{2 * NUM_RESULTS}]u32);", "var one: u16 = 1;"]
        body = f"task main() void {{\n  {lines}\n}}{START}"
        return "\n".join((*head, *self.globals, *sorted(self.passing), body))


# Shrinking a random program through its seed leads nowhere: a failure is replayed by it.
@settings(phases=(Phase.explicit, Phase.reuse, Phase.generate), max_examples=20)
@given(seed=st.integers(0, 1 << 32))
def test_integers_of_any_width_are_exact(seed: int) -> None:
    program = Program(Random(seed))  # noqa: S311
    for _ in range(NUM_RESULTS):
        program.result()
    for engine in ("reference", "fast"):
        assert run_program(program.source, engine, ("out",))["out"] == program.expected, (
            program.source
        )


# --- numbers in registers ------------------------------------------------------------------------

FUNCTIONS = """
fn swap(x: i64) i64 { return x << 32 | @bitcast(i64, @bitcast(u64, x) >> 32); }
fn second(x: i64, y: i64) i64 { return y; }
fn minus(n: u16, x: i64, y: i64) i64 { return x - y; }
"""


def swapped(number: int) -> int:
    number %= 1 << 64
    return I64.wrap(number << 32 | number >> 32)


def local_expression(random: Random, values: dict[str, int], depth: int) -> tuple[str, int]:
    """Return an expression of locals, in which words change places."""
    if depth == 0:
        name = random.choice(tuple(values))
        return name, values[name]
    (a, x), (b, y) = (local_expression(random, values, depth - 1) for _ in range(2))
    kinds = ("binary", "shifts", "rotate", "swap", "second", "minus", "mask", "not")
    if random.random() < 0.5:
        kinds = ("rotate",) if depth == 1 else ("binary", "shifts", "mask")
    match random.choice(kinds):
        case "binary":
            symbol = random.choice(("+", "-", "&", "|", "^"))
            text, number = f"{a} {symbol} {b}", BINARY[symbol](x, y)
        case "shifts":
            first, then = random.choice(((3, 8), (8, 8), (0, 3), (0, 40), (3, 0), (40, 32)))
            text, number = f"{a} << {first} >> {then}", I64.wrap(x << first) >> then
        case "rotate":  # words change their places, without an instruction
            text, number = f"{a} << 32 | (@as(i64, @as(u32, {a} >> 32)))", swapped(x)
        case "swap":
            text, number = f"swap({a})", swapped(x)
        case "second":
            text, number = f"second({a}, {b})", y
        case "minus":
            text, number = f"minus(one, {a}, {b})", x - y
        case "mask":
            mask = random.choice((0xFFFFFFFF, -1 << 32, 0xFF << 28))
            text, number = f"{a} & {mask}", x & mask
        case _:
            test, holds = random.choice((("<=", int.__le__), (">", int.__gt__), ("<", int.__lt__)))
            limit = random.choice((0, 1 << 32, -1 << 32))
            text, number = f"if ({a} {test} {limit}) ~{b} else {b}", ~y if holds(x, limit) else y
    return f"({text})", I64.wrap(number)


# As above.
@settings(phases=(Phase.explicit, Phase.reuse, Phase.generate), max_examples=20)
@given(seed=st.integers(0, 1 << 32))
def test_words_may_change_places(seed: int) -> None:
    random = Random(seed)  # noqa: S311
    numbers = [draw_number(random, I64) for _ in range(NUM_LINES)]
    values = {f"x{i}": numbers[i] for i in range(3)}
    lines = [f"var {name} = from[{i}];" for i, name in enumerate(values)]
    results: list[int] = []
    for i in range(NUM_LINES):
        name = random.choice(tuple(values))
        text, number = local_expression(random, values, random.choice((1, 2, 2, 3)))
        lines += [f"{name} = {text};", f"out[{i}] = {name};"]
        results.append(number)
        # Shifts and masks leave little of the old ones.
        lines.append(f"{name} = from[{i}];")
        values[name] = numbers[i]
    body = "\n  ".join(lines)
    source = f"""{FUNCTIONS}
var from = [{len(numbers)}]i64{{ {", ".join(map(str, numbers))} }};
var one: u16 = 1;
var out = @zeros([{NUM_LINES}]i64);
task main() void {{
  {body}
}}{START}"""
    expected = [w for n in results for w in (n & 0xFFFFFFFF, n >> 32 & 0xFFFFFFFF)]

    for engine in ("reference", "fast"):
        assert run_program(source, engine, ("out",))["out"] == expected, source


# --- every pair of edges -------------------------------------------------------------------------

HALF, WHOLE = 1 << 31, 1 << 32
WORDS = (
    0,
    1,
    2,
    10,
    0xFFFF,
    1 << 16,
    0x1FFFF,
    HALF - 1,
    HALF,
    WHOLE - 1,
    WHOLE,
    WHOLE + 1,
    HALF * WHOLE,
)
NUMBERS = sorted({n % (1 << 64) for m in WORDS for n in (m, -m)} | {0x123456789ABCDEF0})
COUNTS = (0, 1, 16, 31, 32, 33, 48, 63, 64, 65, 96, 0xFFFF)
TABLE = """
var left = [{num_left}]{type}{{ {left} }};
var right = [{num_right}]{count}{{ {right} }};
var out = @zeros([{num_left} * {num_right} * 2]u32);
task main() void {{
  var place: u16 = 0;
  for (left) |a| {{
    for (right) |b| {{
      const result = @as(u64, a {symbol} b);
      out[place] = @as(u32, result);
      out[place + 1] = @as(u32, result >> 32);
      place += 2;
    }}
  }}
}}
"""


def divide_or(instead: Callable[[int], int], symbol: str) -> Callable[[int, int], int]:
    return lambda a, b: DIVISION[symbol](a, b) if b else instead(a)


OPERATIONS: dict[str, Callable[[int, int], int]] = {
    **BINARY,
    **COMPARISONS,
    "/": divide_or(lambda _: 0, "/"),
    "%": divide_or(lambda a: a, "%"),
    **SHIFTS,
}


@pytest.mark.parametrize("width", [U64, I64], ids=str)
@pytest.mark.parametrize("symbol", OPERATIONS)
def test_edges(symbol: str, width: Width) -> None:
    left = [width.wrap(n) for n in NUMBERS]
    is_shift = symbol in ("<<", ">>")
    right = COUNTS if is_shift else left
    source = TABLE.format(
        type=width,
        count=U16 if is_shift else width,
        left=", ".join(map(str, left)),
        right=", ".join(map(str, right)),
        num_left=len(left),
        num_right=len(right),
        symbol=symbol,
    )
    expected = [U64.wrap(width.wrap(int(OPERATIONS[symbol](a, b)))) for a in left for b in right]

    (words,) = run_program(source + START, "fast", ("out",)).values()

    assert [low | high << 32 for low, high in zip(words[::2], words[1::2], strict=True)] == expected


# Half of the last place of an f32 (24 bits) away from one, and by one more or less.
TIES = [
    (1 << n) + (1 << n - 24) * odd + near
    for n in (32, 40, 63)
    for odd in (1, 3)
    for near in (-1, 0, 1)
]
ROUNDED = [*TIES, *NUMBERS, (1 << 64) - (1 << 39), (1 << 64) - (1 << 39) - 1, 65519, 65520]


@pytest.mark.parametrize("width", [U64, I64], ids=str)
@pytest.mark.parametrize(("name", "bits", "largest"), [("f32", 24, 1 << 127), ("f16", 11, 65504)])
def test_floats_are_rounded_once(name: str, bits: int, largest: int, width: Width) -> None:
    numbers = [width.wrap(n) for n in ROUNDED]
    listed = ", ".join(map(str, numbers))
    word = f"@as(u32, @bitcast(u16, @as({name}, n)))" if bits < 24 else "@bitcast(u32, @as(f32, n))"
    source = f"""
const numbers = [{len(numbers)}]{width}{{ {listed} }};
var out = @zeros([{len(numbers)}]u32);
export var known = rounded();
fn rounded() [{len(numbers)}]u32 {{
  var words = @zeros([{len(numbers)}]u32);
  for (numbers) |n, i| {{ words[i] = {word}; }}
  return words;
}}
task main() void {{
  for (numbers) |n, i| {{ out[i] = {word}; }}
}}{START}"""
    rounded = [to_float(n, bits=bits, largest=largest) for n in numbers]
    infinity = [float("inf") if n > 0 else -float("inf") for n in numbers]
    floats = [i if r is None else float(r) for r, i in zip(rounded, infinity, strict=True)]
    dtype = np.dtype("<f2" if bits < 24 else "<f4")
    expected = np.array(floats, np.float64).astype(dtype).view(f"<u{dtype.itemsize}").tolist()

    for engine in ("reference", "fast"):
        assert run_program(source, engine, ("out", "known")) == {"out": expected, "known": expected}


# --- the places of programs ----------------------------------------------------------------------


PLACES = """
const pair = struct { first: i64, second: u16, third: u40 };
const either = extern union { whole: u64, words: [2]u32, half: i32 };
const bits = packed struct { low: u20, middle: i40, is_set: bool };
const kinds = enum(u40) { NEAR, FAR = 0x8000000000 };
var numbers = [4]i64{ 1, -2, 3, -4 };
var copies: [4]i64;
var pairs: [2]pair;
var one: u16 = 1;
var function: *const fn (i64, u16) i64 = &shifted;
var mixed: either;
var flags = [2]bits{ @bitcast(bits, @as(u61, 0)), @bitcast(bits, @as(u61, 0)) };
var kind = kinds.NEAR;
var out = @zeros([18]i64);

fn shifted(x: i64, by: u16) i64 { return x << by; }
fn swapped(p: pair) pair {
  return .{ .first = p.third, .second = p.second, .third = @as(u40, p.first) };
}
inline fn twice(x: anytype) @type_of(x) { return x + x; }
fn next(at: *i64) i64 { at.* += 1; return at.*; }
fn kept(x: i64) i64 { const p = &x; return p.* - 1; }
fn total(list: [*]i64, n: u64) i64 {
  var sum: i64 = 0;
  var i: u64 = 0;
  while (i < n) : (i += 1) {
    if (list[i] == -2) continue;
    sum += list[i];
  }
  return sum;
}

task main() void {
  copies = numbers;
  copies[one] *= 1 << 40;
  out[0] = copies[1];
  pairs[one] = pair{ .first = 1 << 36, .second = 2, .third = 0xffffffffff };
  pairs[0] = swapped(pairs[one]);
  out[1] = pairs[0].first + @as(i64, pairs[0].third) * 2;
  out[2] = function(numbers[2], 33 * one);
  mixed = .{ .whole = 0x100000002 };
  mixed.words[one] += 4;
  out[3] = @bitcast(i64, mixed.whole);
  flags[one].middle = -1 << 39;
  flags[one].middle -= 1;
  flags[one].is_set = flags[one].middle > 0x7fff;
  out[4] = @bitcast(i64, @as(u64, @bitcast(u61, flags[1])));
  kind = kinds.FAR;
  out[5] = if (kind == kinds.FAR) @as(i64, @as(u40, kind)) else 0;
  out[6] = total(&numbers, 4);
  out[7] = next(&out[7]) * 10 + next(&out[7]);
  out[8] = switch (numbers[one]) { -2 => twice(numbers[0]), 3, 4 => 7, else => 8 };
  out[9] = (search: {
    for (numbers) |n, i| {
      if (n > 1 << 1) { break :search n * 100 + @as(i64, i); }
    }
    break :search @as(i64, 0);
  });
  out[10] = kept(numbers[3]);
  var low = numbers[0] - numbers[1];
  const place = &low;
  place.* <<= 60;
  out[11] = low;
  for (@range(i64, 3, -3, -2)) |n| { out[12] = out[12] * 100 + n; }
  for (@range(u64, 1, 0xffffffffffffffff, 1 << 62)) |n| { out[16] += @as(i64, n); }
  for (@range(i64, -1 << 63, (1 << 63) - 1, 1)) |n| {
    if (n == (-1 << 63) + 4) break;
    out[17] = n;
  }
  copies = @constants([4]i64, numbers[2]);
  const known = [2]u64{ 1 << 63, 5 };
  out[13] = copies[one] + @bitcast(i64, known[one]);
  out[14] = if (one == 1 and numbers[0] < numbers[2]) ~numbers[0] else -numbers[0];
  const scaled: f32 = @as(f32, numbers[1]) * 1.5;
  out[15] = @as(i64, scaled) + @as(i64, numbers[0] == 1);
}
"""
IN_PLACES = (
    *(-2 << 40, (1 << 40) - 1 + (((1 << 36) & (1 << 40) - 1) << 1), 3 << 33, 0x5_0000_0002),
    *(
        (1 << 39) - 1 << 20 | 1 << 60,
        1 << 39,
        0,
        12,
        2,
        302,
        -5,
        3 << 60,
        30099,
        8,
        -2,
        -2,
        (6 << 62) + 4,
        (-1 << 63) + 3,
    ),
)


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_places_of_values(engine: str) -> None:
    (words,) = run_program(PLACES + START, engine, ("out",)).values()
    found = struct.unpack("<18q", struct.pack("<36I", *words))
    assert [hex(n) for n in found] == [hex(I64.wrap(n)) for n in IN_PLACES]


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_hosts_copy_pairs_of_words(engine: str) -> None:
    declarations = "var a = @zeros([3]u64);\nvar b = @zeros([3]i64);\n"
    body = "for (a) |x, i| { b[i] = @bitcast(i64, x * x) - 1; }"
    variables = {"a": "u64", "b": "i64"}
    device = device_of(compile_pe(body, declarations, variables=variables), engine=engine)
    numbers = np.array([0, 3, (1 << 33) + 5], "<u8")

    device.write("a", numbers.view("<u4").reshape(1, 1, 6))
    device.launch("run")

    found = device.read("b", 6).reshape(-1).astype("<u4").view("<i8")
    assert found.tolist() == [-1, 8, I64.wrap(((1 << 33) + 5) ** 2 - 1)]


def test_numbers_that_differ_between_pes() -> None:
    layout = """
layout {
  @set_rectangle(3, 1);
  for (@range(u16, 3)) |x| {
    const n = @as(i64, x) * 0x1234567890 - 0x2000000000;
    @set_tile_code(x, 0, "pe.csl", .{ .n = n, .count = @as(u64, x) << 5 });
  }
}"""
    program = f"""
param n: i64;
param count: u64;
var kept: i64 = n;
var sums = @zeros([2]i64);
var i: u16 = 1;
task main() void {{
  sums[i] = kept + n * 3 + (n >> count) + (n << count);
}}{START}"""
    architecture = load_architecture("wse3")
    options = CompileOptions(entry="layout.csl", architecture=architecture, uses_memcpy=False)
    image = compile_program(options, MemoryFiles({"layout.csl": layout, "pe.csl": program}))
    machine = Machine(image, architecture, engine="reference")
    machine.run(max_cycles=10_000)

    assert len(image.programs) == 1
    for x in range(3):
        n, symbol = x * 0x1234567890 - 0x2000000000, machine.symbol(x, 0, "sums")
        found = struct.unpack("<2q", machine.peek(x, 0, symbol.address, symbol.num_bytes))
        assert found == (0, I64.wrap(n * 4 + (n >> 32 * x) + (n << 32 * x)))


@pytest.mark.parametrize("count", ["@as(u32, 0xffffffff)", "@as(i16, -1)", "@as(u64, 1 << 40)"])
def test_known_counts_beyond_the_width_leave_nothing(count: str) -> None:
    source = f"""
    var n: i64 = -5;
    var m: u64 = 5;
    var out = @zeros([8]u32);
    task main() void {{
      const results = [4]u64{{
        @bitcast(u64, n << {count}), @bitcast(u64, n >> {count}), m << {count}, m >> {count} }};
      for (results) |result, i| {{
        out[2 * i] = @as(u32, result);
        out[2 * i + 1] = @as(u32, result >> 32);
      }}
    }}{START}"""
    ones = 0xFFFFFFFF
    for engine in ("reference", "fast"):
        assert run_program(source, engine, ("out",))["out"] == [0, 0, ones, ones, 0, 0, 0, 0]
