"""Operands are evaluated from left to right, also where they are blocks or calls with effects.

Random statements are written twice: as CSL, and as what Python, which has the same order, makes of
them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.csl.codegen.interpreters import Executor, compile_instance, initial_memory
from tests.csl.sema.conftest import analyze_sources

if TYPE_CHECKING:
    from collections.abc import Callable

MASK = 0xFFFF
MEMORY, REGISTERS = ("m0", "m1"), ("r0", "r1")
VARIABLES = (*MEMORY, *REGISTERS)
OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "^": lambda a, b: a ^ b,
}
COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
}
DECLARATIONS = """
var m0: u16 = 3; var m1: u16 = 5; var v = [4]u16{ 1, 2, 3, 4 };
var words: [8]u16;
const two = struct { first: u16, second: u16 };
fn bump(n: u16) u16 { m0 += n; v[n & 3] += m0; return m0 ^ n; }
fn both(n: u16) two {
  m1 = m1 * 3 + n;
  v[m1 & 3] += 1;
  return two{ .first = m1, .second = v[n & 3] };
}
fn mixed(a: u16, b: u16, c: u16) u16 { return a * 5 + b * 3 + c; }
"""


@dataclass
class State:
    variables: dict[str, int] = field(default_factory=lambda: {"m0": 3, "m1": 5, "r0": 7, "r1": 9})
    v: list[int] = field(default_factory=lambda: [1, 2, 3, 4])

    def set(self, name: str, value: int) -> int:
        self.variables[name] = value & MASK
        return self.variables[name]

    def set_element(self, index: int, value: int) -> int:
        self.v[index & 3] = value & MASK
        return self.v[index & 3]

    def bump(self, n: int) -> int:
        m0 = self.set("m0", self.variables["m0"] + n)
        self.set_element(n, self.v[n & 3] + m0)
        return m0 ^ n

    def both(self, n: int) -> tuple[int, int]:
        m1 = self.set("m1", self.variables["m1"] * 3 + n)
        self.set_element(m1, self.v[m1 & 3] + 1)
        return m1, self.v[n & 3]


Value = tuple[str, "Callable[[State], int]"]
"""An expression of type u16 as CSL, and what it is."""


@dataclass
class Writer:
    random: Random
    labels: int = 0

    def value(self, depth: int) -> Value:
        simple = (self.number, self.variable, self.variable, self.element)
        nested = (
            *(self.binary, self.binary, self.element_of, self.call, self.struct_call, self.mixed),
            *(self.block, self.block, self.choice, self.switch, self.field_of),
        )
        return self.random.choice(nested if depth else simple)(max(0, depth - 1))

    def number(self, _depth: int) -> Value:
        number = self.random.randint(0, 9)
        return f"@as(u16, {number})", lambda _: number

    def variable(self, _depth: int) -> Value:
        name = self.random.choice(VARIABLES)
        return name, lambda s: s.variables[name]

    def element(self, _depth: int) -> Value:
        index = self.random.randint(0, 3)
        return f"v[{index}]", lambda s: s.v[index]

    def element_of(self, depth: int) -> Value:
        text, index = self.value(depth)
        return f"v[({text}) & 3]", lambda s: s.v[index(s) & 3]

    def binary(self, depth: int) -> Value:
        name, function = self.random.choice(tuple(OPERATORS.items()))
        (left, a), (right, b) = self.value(depth), self.value(depth)
        return f"({left} {name} {right})", lambda s: function(a(s), b(s)) & MASK

    def call(self, depth: int) -> Value:
        text, argument = self.value(depth)
        return f"bump({text})", lambda s: s.bump(argument(s))

    def struct_call(self, depth: int) -> Value:
        text, argument = self.value(depth)
        part = self.random.randint(0, 1)
        name = ("first", "second")[part]
        return f"both({text}).{name}", lambda s: s.both(argument(s))[part]

    def mixed(self, depth: int) -> Value:
        texts, parts = zip(*(self.value(depth) for _ in range(3)), strict=True)

        def value(s: State) -> int:
            a, b, c = [part(s) for part in parts]
            return (a * 5 + b * 3 + c) & MASK

        return f"mixed({', '.join(texts)})", value

    def block(self, depth: int) -> Value:
        text, effect = self.statement(depth)
        result, value = self.value(depth)
        self.labels += 1
        label = f"b{self.labels}"

        def run(s: State) -> int:
            effect(s)
            return value(s)

        return f"({label}: {{ {text} break :{label} {result}; }})", run

    def choice(self, depth: int) -> Value:
        test, is_taken = self.comparison(depth)
        (first, a), (second, b) = self.value(depth), self.value(depth)
        return f"(if ({test}) {first} else {second})", lambda s: a(s) if is_taken(s) else b(s)

    def switch(self, depth: int) -> Value:
        text, chosen = self.value(depth)
        arms = [self.value(depth) for _ in range(3)]
        cases = f"0 => {arms[0][0]}, 1, 2 => {arms[1][0]}, else => {arms[2][0]}"
        number = {0: 0, 1: 1, 2: 1}
        return (
            f"(switch (({text}) & 3) {{ {cases} }})",
            lambda s: arms[number.get(chosen(s) & 3, 2)][1](s),
        )

    def field_of(self, depth: int) -> Value:
        (first, a), (second, b) = self.value(depth), self.value(depth)
        part = self.random.randint(0, 1)

        def value(s: State) -> int:
            return (a(s), b(s))[part]

        literal = f"two{{ .first = {first}, .second = {second} }}"
        return f"({literal}).{('first', 'second')[part]}", value

    def comparison(self, depth: int) -> tuple[str, Callable[[State], bool]]:
        name, function = self.random.choice(tuple(COMPARISONS.items()))
        (left, a), (right, b) = self.value(depth), self.value(depth)
        match self.random.randint(0, 2):
            case 0:
                other, c = self.comparison(0)
                return (
                    f"({left} {name} {right} and {other})",
                    lambda s: function(a(s), b(s)) and c(s),
                )
            case 1:
                other, c = self.comparison(depth)
                return f"({left} {name} {right} or {other})", lambda s: function(a(s), b(s)) or c(s)
            case _:
                return f"{left} {name} {right}", lambda s: function(a(s), b(s))

    def statement(self, depth: int) -> tuple[str, Callable[[State], object]]:
        text, value = self.value(depth)
        name = self.random.choice(VARIABLES)
        operator, function = self.random.choice(tuple(OPERATORS.items()))
        match self.random.randint(0, 4):
            case 0:
                return f"{name} = {text};", lambda s: s.set(name, value(s))
            case 1:
                return f"{name} {operator}= {text};", lambda s: s.set(
                    name, function(s.variables[name], value(s))
                )
            case 2:
                index, at = self.value(depth)

                def store(s: State) -> None:
                    place = at(s)
                    s.set_element(place, value(s))

                return f"v[({index}) & 3] = {text};", store
            case 3:
                index, at = self.value(depth)

                def update(s: State) -> None:
                    place = at(s)
                    s.set_element(place, function(s.v[place & 3], value(s)))

                return f"v[({index}) & 3] {operator}= {text};", update
            case _:
                values = [self.value(depth) for _ in range(4)]

                def fill(s: State) -> None:
                    s.v[:] = [value(s) for _, value in values]

                return f"v = [4]u16{{ {', '.join(text for text, _ in values)} }};", fill


def words_after(body: str) -> list[int]:
    """Return the variables after `body`, run by the interpreter of bytecode, optimised and not."""
    plain, optimized = (_words_after(body, optimizes=optimizes) for optimizes in (False, True))
    assert plain == optimized
    return plain


def _words_after(body: str, *, optimizes: bool) -> list[int]:
    result = analyze_sources(f"""{DECLARATIONS}
        fn run() void {{
          var r0: u16 = 7; var r1: u16 = 9;
          {body}
          words = [8]u16{{ m0, m1, r0, r1, v[0], v[1], v[2], v[3] }};
        }}
        comptime {{ @export_symbol(run); }}""")
    program = compile_instance(result.instance, optimizes=optimizes)
    address = {symbol.name: symbol.address for symbol in program.symbols}
    executor = Executor(program, initial_memory(program))
    executor.run(address["run"], {})
    return list(struct.unpack_from("<8H", executor.memory, address["words"]))


@settings(max_examples=40, deadline=None, phases=(Phase.generate,))
@given(st.integers(0, 2**32))
def test_random_statements_do_what_python_makes_of_them(seed: int) -> None:
    # Not for secrets: the seed is the test case.
    writer = Writer(Random(seed))  # noqa: S311
    statements = [writer.statement(2) for _ in range(4)]
    state = State()
    for _, effect in statements:
        effect(state)
    expected = [*state.variables.values(), *state.v]
    assert words_after("\n".join(text for text, _ in statements)) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("v[(b: { m1 += 1; break :b &v; })[1]] = 9;", {"m1": 6, "v": [1, 2, 9, 4]}),
        ("r0 = (b: { m1 += 1; break :b &v; })[1];", {"m1": 6, "r0": 2}),
        ("_ = .{ bump(1), 5 };", {"m0": 4, "v": [1, 6, 3, 4]}),
        ("_ = @range(u16, bump(1));", {"m0": 4, "v": [1, 6, 3, 4]}),
        ("r0 = @range_start(@range(u16, m1, bump(1), 1));", {"m0": 4, "v": [1, 6, 3, 4], "r0": 5}),
        ("for (.{ bump(1), 2 }) |x| {}", {"m0": 4, "v": [1, 6, 3, 4]}),
        ("for (.{ m0, m1 }) |x| { m1 += 1; r0 += x + x; }", {"m1": 7, "r0": 23}),
        ("for (.{ 1, 5, 7 }) |x| { if (x == m1) continue; r0 += x; }", {"r0": 15}),
        ("for (.{ 1, 5, 7 }) |x| { if (x == m1) break; r0 += x; }", {"r0": 8}),
        (
            """outer: for (.{ 10, 20, 30 }) |x| {
                 for (@range(u16, 3)) |i| {
                   if (i + 19 == x) break :outer;
                   for (.{ 1, 2 }) |y| { if (y == i) continue :outer; r0 += x * y; }
                 }
                 r1 = 0;
               }""",
            {"r0": 97},
        ),
        (
            "r0 = b: { for (.{ 1, 5 }) |x| { if (x == m1) break :b x * m0; } break :b m0; };",
            {"r0": 15},
        ),
        ("const f = &bump; r0 = f.*(1);", {"m0": 4, "v": [1, 6, 3, 4], "r0": 5}),
        (
            "for ([2]u16{ bump(1), 2 }) |x| { r0 += x; }",
            {"m0": 4, "v": [1, 6, 3, 4], "r0": 14},
        ),
        ("r0 = ([2]u16{ m0, bump(1) })[m1 & 1];", {"m0": 4, "v": [1, 6, 3, 4], "r0": 5}),
        (
            "for (@range(u16, bump(4), m0, 1)) |i| { r0 += 1; }",
            {"m0": 7, "r0": 11, "v": [8, 2, 3, 4]},
        ),
        (
            """outer: while (true) {
                 while (b: { if (m0 > 5) break :outer; break :b true; }) { m0 += 1; }
               }""",
            {"m0": 6},
        ),
        ("while (m1 > 5 or (b: { r0 += 1; break :b r0; }) < 9) { m1 = 0; }", {"m1": 0, "r0": 9}),
        (
            """var s = two{ .first = 1, .second = 2 };
               s = two{ .first = s.second, .second = s.first };
               r0 = s.first * 10 + s.second;""",
            {"r0": 21},
        ),
    ],
)
def test_values_are_computed_once(body: str, expected: dict[str, object]) -> None:
    m0, m1, r0, r1, *v = words_after(body)
    before = {"m0": 3, "m1": 5, "r0": 7, "r1": 9, "v": [1, 2, 3, 4]}
    assert {"m0": m0, "m1": m1, "r0": r0, "r1": r1, "v": v} == before | expected


@pytest.mark.parametrize(
    "loop",
    [
        "for (v) |x, k| { v[3 - k] += x; r0 += mixed(x, m0, k); }",
        "for (v) |x| { if (x == m0) continue; r0 += x; if (x > 3) break; m1 += x; }",
        "for (v) |x| { r0 += b: { if (x == 2) break :b bump(x); break :b x; }; }",
        "for ([3]u16{ bump(1), m0, 2 }) |x, k| { r0 = r0 * 3 + x; m0 += k; v[k] = x; }",
        "for (@range(u16, 4)) |i| { v[i] += bump(i); if (v[i] > 9) break; }",
        "for (@range(u16, 9, 1, -3)) |i, k| { r0 = r0 * 5 + i; r1 += k; }",
        "for (@range(u16, 4, 4, 1)) |i| { r0 += i; }",
        "for (([2, 2]u16{ 1, 2, 3, m0 })) |x| { r0 = r0 * 3 + x; }",
        "for ((&v).*) |x| { v[0] += 1; r0 = r0 * 3 + x; }",
        "for ([2]two{ both(2), both(m0) }) |s| { r0 += s.first * s.second; }",
    ],
)
def test_an_inline_for_does_what_the_loop_does(loop: str) -> None:
    plain = words_after(loop)
    assert words_after(f"inline {loop}") == plain
    assert words_after(f"around: inline {loop}") == plain
    outer = "while (r1 < 12) : (r1 += 1) { if (r0 > 900) continue; %s }"
    assert words_after(outer % f"inline {loop}") == words_after(outer % loop)


def test_rounds_behind_a_known_jump_are_not_looked_at() -> None:
    m0, m1, *_ = words_after("""
        const known = [3]u16{ 4, 2, 0 };
        inline for (known) |x| {
          if (x == 4) continue;
          m0 += 8 / x;
          if (x == 2) break;
        }
        inline for (@range(u16, 9)) |i| { if (i == 3) { m1 = v[i]; break; } v[i] = 0; }
    """)
    assert (m0, m1) == (7, 4)
