"""Functions that call one another last: jumps, however many of them; other recursion is refused.

Python computes what both engines have to leave. Random state machines pass random expressions of
one and of two words on, in random orders, out of loops and branches.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, run_stages
from onewafer.diagnostics import DiagnosticSink, render
from onewafer.image import RETURN_STACK_DEPTH, Field, Opcode
from tests.csl.one_task import LAYOUT, START, assert_leaves

if TYPE_CHECKING:
    from collections.abc import Callable

DEPTH = 10_000
WORD = (1 << 32) - 1


def compiled(source: str):
    sink = DiagnosticSink()
    options = CompileOptions(
        entry="layout.csl", architecture=load_architecture("wse3"), uses_memcpy=False
    )
    files = MemoryFiles({"layout.csl": LAYOUT, "pe.csl": source + START})
    return run_stages(options, files, sink).image, sink.diagnostics


def assert_compiles(source: str):
    image, findings = compiled(source)
    assert image is not None, render(findings)
    return image.programs[0]


def refusal(source: str):
    """Return the one finding, which refuses a recursion."""
    _, (finding,) = compiled(source)
    assert finding.code == "recursive-call"
    return finding


def text_at(annotation) -> str:
    span = annotation.span
    return span.source.text[span.start : span.end]


# --- values arrive -------------------------------------------------------------------------------


def test_arguments_of_a_function_that_calls_itself_are_read_before_they_are_overwritten() -> None:
    source = """
fn gcd(a: u32, b: u32) u32 {
  if (b == 0) return a;
  return gcd(b, a % b);
}
fn fibonacci(n: u32, a: u32, b: u32) u32 {
  return if (n == 0) a else fibonacci(n - 1, b, a + b);
}
fn turned(n: u32, a: u32, b: u32, c: u32) u32 {
  if (n == 0) {
    return 100 * a + 10 * b + c;
  }
  return turned(n - 1, b, c, a);
}
fn swapped(a: u64, n: u16, b: u64) u64 {
  if (n == 0) { return a; } else { return swapped(b, n - 1, a + 1); }
}
var out = @zeros([5]u32);
task main() void {
  out[0] = gcd(1071, 462);
  out[1] = fibonacci(20, 0, 1);
  out[2] = turned(4, 1, 2, 3);
  const pair = swapped(0x100000000, 5, 0xffffffff);
  out[3] = @as(u32, pair);
  out[4] = @as(u32, pair >> 32);
}
"""
    assert_leaves(source + START, {"out": [21, 6765, 231, 1, 1]})


def test_wide_arguments_move_by_one_register() -> None:
    """The parameters of the two functions overlap by a word, one way and the other."""
    source = """
fn up(a: u64, n: u16) u64 {
  if (n == 0) return a;
  return down(n - 1, a);
}
fn down(n: u16, a: u64) u64 {
  if (n == 0) return a;
  return up(a + a, n - 1);
}
var out = @zeros([2]u32);
task main() void {
  const sum = up(0x100000003, 4);
  out[0] = @as(u32, sum);
  out[1] = @as(u32, sum >> 32);
}
"""
    assert_leaves(source + START, {"out": [12, 4]})


def test_depth_is_that_of_one_call() -> None:
    assert DEPTH > RETURN_STACK_DEPTH
    source = f"""
fn even(n: u32) bool {{ return n == 0 or odd(n - 1); }}
fn odd(n: u32) bool {{ return n != 0 and even(n - 1); }}
fn sum(n: u32, total: u32) u32 {{
  if (n > 0) {{
    return sum(n - 1, total + n);
  }}
  return total;
}}
var out = @zeros([3]u32);
task main() void {{
  out[0] = if (even({DEPTH})) 1 else 0;
  out[1] = if (odd({DEPTH})) 1 else 0;
  out[2] = sum({DEPTH}, 0);
}}
"""
    assert_leaves(source + START, {"out": [1, 0, DEPTH * (DEPTH + 1) // 2]})


def test_machine_of_functions_without_results() -> None:
    """A step calls the entry, which calls a shift, which calls the step, in arms of choices."""
    source = """
param rounds = @as(u32, 3);
var round: u32 = 0;
var step: u32 = 0;
var out = @zeros([4]u32);
fn entry() void {
  if (round == rounds) {
    finish();
  } else {
    round += 1;
    shift();
  }
}
fn shift() void {
  if (step < 2) {
    step += 1;
    out[0] += 1;
    shift();
    return;
  } else {
    step = 0;
    compute();
  }
}
fn compute() void {
  switch (step) {
    5 => { step = 0; entry(); },
    else => { step += 1; out[1] += step; compute(); }
  }
}
fn finish() void { out[2] = 7; }
task main() void {
  entry();
  out[3] = round;
}
"""
    assert_leaves(source + START, {"out": [6, 45, 7, 3]})


def test_call_through_a_pointer_is_a_jump_of_a_jump() -> None:
    source = """
var next: *const fn (u32, u32) u32 = first;
fn first(n: u32, sum: u32) u32 {
  if (n == 0) return sum;
  next = second;
  return next(n - 1, sum + 1);
}
fn second(n: u32, sum: u32) u32 {
  if (n == 0) return sum;
  next = first;
  return next(n - 1, sum + 10);
}
var out = @zeros([1]u32);
task main() void {
  out[0] = next(100, 0);
}
"""
    assert_leaves(source + START, {"out": [550]})


def test_fields_of_structs_are_arguments() -> None:
    source = """
const pair = struct { a: u32, b: u32 };
fn swap(p: pair, n: u32) u32 {
  if (n == 0) return p.a;
  return swap(pair{ .a = p.b, .b = p.a + 1 }, n - 1);
}
var out = @zeros([1]u32);
var ten: u32 = 10;
task main() void {
  out[0] = swap(pair{ .a = ten, .b = ten + ten }, 5);
}
"""
    assert_leaves(source + START, {"out": [22]})


def test_jump_leaves_a_loop() -> None:
    """Registers in which a loop keeps constants are overwritten by arguments."""
    source = """
fn search(from: u32, n: u32, a: u32, b: u32, c: u32) u32 {
  return if (n == 0) from + a + b + c else look(n);
}
fn look(n: u32) u32 {
  var i: u32 = 1000;
  while (i < 5000) : (i += 1000) {
    if (i == 1000 * n) {
      return search(i + 4000, n - 1, i + 70000, i * 3000, 4000);
    }
  }
  return search(1, 0, 2, 3, 4);
}
var out = @zeros([2]u32);
task main() void {
  out[0] = look(1);
  out[1] = look(3);
}
"""
    out = [5000 + 71000 + 3_000_000 + 4000]
    # look(3) → search(7000, 2, …) → look(2) → search(6000, 1, …) → look(1) → as before
    assert_leaves(source + START, {"out": out * 2})


def test_calls_in_arguments_are_made_first() -> None:
    source = """
var count: u32 = 0;
fn bump(by: u32) u32 { count += by; return count; }
fn f(n: u32, a: u32, b: u32, c: u32) u32 {
  if (n == 0) return 100 * a + 10 * b + c;
  return f(n - 1, count, bump(b), count);
}
var out = @zeros([1]u32);
task main() void {
  out[0] = f(2, 0, 1, 0);
}
"""
    # 1: a = 0, b = 1, c = 1; 2: a = 1, b = 2, c = 2
    assert_leaves(source + START, {"out": [122]})


def test_call_of_a_block_with_a_label_and_of_an_inline_function() -> None:
    source = """
fn f(n: u32, sum: u32) u32 {
  if (n == 0) return sum;
  return around(n, sum);
}
inline fn around(n: u32, sum: u32) u32 {
  if (n == 50) return f(n - 2, sum + 1000);
  return f(n - 1, sum + 1);
}
var out = @zeros([2]u32);
fn g(n: u32) void {
  block: {
    if (n == 0) break :block;
    if (n == 1) {
      out[1] += 100;
      g(n - 1);
      break :block;
    }
    out[1] += 1;
    g(n - 1);
  }
}
task main() void {
  out[0] = f(100, 0);
  g(100);
}
"""
    assert_leaves(source + START, {"out": [1098, 199]})


def test_memory_of_its_own_is_used_again() -> None:
    """Whose address goes nowhere: every call sets the array anew."""
    source = """
fn f(n: u32, sum: u32) u32 {
  var products: [4]u16;
  for (@range(u16, 4)) |i| {
    products[i] = @as(u16, n) * i;
  }
  const all = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> products[i] });
  @add16(all, all, 1);
  if (n == 0) return sum;
  return f(n - 1, sum + products[n & 3]);
}
var out = @zeros([1]u32);
task main() void {
  out[0] = f(6, 0);
}
"""
    expected = sum(n * (n & 3) + 1 for n in range(1, 7))
    assert_leaves(source + START, {"out": [expected]})


def test_the_code_of_a_loop_is_all_there_is() -> None:
    source = """
fn count(n: u32, sum: u32) u32 { if (n == 0) return sum; return count(n - 1, sum + n); }
var out = @zeros([1]u32);
task main() void { out[0] = count(10, 0); }
"""
    program = assert_compiles(source)
    symbols = {symbol.name: symbol for symbol in program.symbols}
    rows = [row for row in program.code.tolist() if row[Field.OPCODE] == Opcode.JUMP]
    assert [row[Field.IMM] for row in rows] == [symbols["count"].address]
    calls = [row for row in program.code.tolist() if row[Field.OPCODE] == Opcode.CALL]
    assert len(calls) == 1


# --- what is refused -----------------------------------------------------------------------------


def test_call_that_is_not_last_is_shown() -> None:
    source = """
fn f(n: u32) u32 {
  if (n == 7) return f(n - 1);
  if (n > 1) return n * g(n - 1);
  return 1;
}
fn g(n: u32) u32 { return f(n); }
var out = @zeros([1]u32);
task main() void { out[0] = f(5); }
"""
    finding = refusal(source)
    assert finding.message == "`f` calls itself: `f` → `g` → `f`"
    assert finding.primary.label == "`f` goes on after this call"
    assert text_at(finding.primary) == "return n * g(n - 1)"
    assert "`return f(x);` at its end, is allowed" in finding.help


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("f(n - 1); x += 1;", "f(n - 1)"),
        ("if (n > 1) { f(n - 1); } x += 1;", "f(n - 1)"),
        ("while (n > x) { f(n - 1); }", "f(n - 1)"),
        ("g(h(n));", "g(h(n))"),
        ("const y = h(n); x = y;", "const y = h(n)"),
    ],
)
def test_call_with_something_behind_it_is_refused(body, text) -> None:
    source = f"""
var x: u32 = 0;
fn f(n: u32) void {{ {body} }}
fn g(n: u32) void {{ f(n); }}
fn h(n: u32) u32 {{ f(n); return n; }}
task main() void {{ f(5); }}
"""
    finding = refusal(source)
    assert text in map(text_at, (finding.primary, *finding.secondary))


def test_call_by_an_operation_on_elements_is_refused() -> None:
    source = """
var a = @zeros([4]u32);
const all = @get_dsd(mem1d_dsd, .{ .tensor_access = |i|{4} -> a[i] });
fn f(n: u32) void { if (n > 1) @map(g, all, all); }
fn g(n: u32) u32 { f(n - 1); return n; }
task main() void { f(5); }
"""
    assert "goes on after this call" in refusal(source).primary.label


def test_result_that_is_copied_is_no_last_call() -> None:
    source = """
const pair = struct { a: u32, b: u32 };
fn f(n: u32) pair {
  if (n == 0) return pair{ .a = n, .b = 1 };
  return f(n - 1);
}
var out = @zeros([1]u32);
task main() void { out[0] = f(out[0]).b; }
"""
    assert "a struct or an array is copied after the call" in refusal(source).notes[-1]


ESCAPES = {
    "as an argument": "fn f(p: *u32) void { var mine: u32 = 1; f(&mine); }",
    "in memory": "fn f(p: *u32) void { var mine: u32 = 1; kept = &mine; f(p); }",
    "through a local": """fn f(p: *u32) void {
      var mine: u32 = 1;
      var q = p;
      if (x == 1) { q = &mine; }
      f(q);
    }""",
    "to another function": """fn f(p: *u32) void { var mine: u32 = 1; keep(&mine); f(p); }""",
    "as a DSD": """fn f(p: *u32) void { var mine: [2]u32; walk(@get_dsd(mem1d_dsd, .{
      .tensor_access = |i|{2} -> mine[i] }), p); }
    fn walk(d: mem1d_dsd, p: *u32) void { @add16(d, d, 1); f(p); }""",
    "in a register": """const held = @get_dsr(dsr_dest, 1);
    fn f(p: *u32) void { var mine: [2]u32; @load_to_dsr(held, @get_dsd(mem1d_dsd, .{
      .tensor_access = |i|{2} -> mine[i] })); f(p); }""",
}


@pytest.mark.parametrize("functions", ESCAPES.values(), ids=ESCAPES)
def test_address_of_what_the_next_call_overwrites_is_refused(functions) -> None:
    source = f"""
var x: u32 = 0;
var kept: *u32 = &x;
fn keep(p: *u32) void {{ kept = p; }}
{functions}
task main() void {{ f(&x); }}
"""
    finding = refusal(source)
    assert finding.message == "`f` calls itself, after taking the address of its `mine`"
    assert "outside of the function" in finding.help


def test_array_that_is_copied_for_the_callee_is_refused() -> None:
    source = """
fn f(n: u32, values: [2]u32) u32 {
  if (n == 0) return values[0];
  return f(n - 1, [2]u32{ values[1], values[0] });
}
var out = @zeros([1]u32);
task main() void { out[0] = f(3, [2]u32{ out[0], 1 }); }
"""
    assert "pass an array by such an address" in refusal(source).help


# --- random state machines -----------------------------------------------------------------------

BITS = {"u32": 32, "u64": 64}
OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "^": operator.xor,
}


@dataclass
class Values:
    """What expressions read: parameters, and a variable that a call changes."""

    parameters: list[int]
    seen: int = 0

    def bump(self, by: int) -> int:
        self.seen = (self.seen + by) & WORD
        return self.seen


@dataclass(frozen=True)
class Expression:
    """An expression in CSL, and in Python."""

    text: str
    of: Callable[[Values], int]


@dataclass(frozen=True)
class Jump:
    """A call that is the last thing of a function."""

    target: State
    arguments: list[Expression]

    @property
    def text(self) -> str:
        return f"{self.target.name}({', '.join(a.text for a in self.arguments)})"


@dataclass(frozen=True)
class Choice:
    """A call, if a value is below 1000; in a loop, if a counter comes by the value."""

    value: Expression
    then: Jump
    is_loop: bool

    def is_taken(self, values: Values) -> bool:
        if self.is_loop:
            return any(i == self.value.of(values) for i in (0, 1000, 2000))
        return self.value.of(values) < 1000

    @property
    def text(self) -> str:
        if self.is_loop:
            test = f"if (i == {self.value.text}) {{ return {self.then.text}; }}"
            return f"  var i: u32 = 0;\n  while (i < 3000) : (i += 1000) {{ {test} }}\n"
        return f"  if ({self.value.text} < 1000) {{ return {self.then.text}; }}\n"


@dataclass
class State:
    """One function: types of its parameters, of which one is how many calls are left."""

    name: str
    types: list[str]
    fuel: int
    choices: list[Choice] = field(default_factory=list)
    result: Expression = field(init=False)
    last: Jump = field(init=False)

    @property
    def text(self) -> str:
        parameters = ", ".join(f"p{i}: {type_}" for i, type_ in enumerate(self.types))
        choices = "".join(choice.text for choice in self.choices)
        return f"""fn {self.name}({parameters}) u32 {{
  if (p{self.fuel} == 0) {{ return {self.result.text}; }}
{choices}  return {self.last.text};
}}
"""


@dataclass
class Writer:
    """Writes random state machines."""

    random: Random
    states: list[State] = field(default_factory=list)

    def write(self) -> None:
        for number in range(self.random.randint(1, 4)):
            types = self.random.choices(["u32", "u64"], k=self.random.randint(0, 4))
            fuel = self.random.randint(0, len(types))
            types.insert(fuel, "u32")
            self.states.append(State(f"s{number}", types, fuel))
        for state in self.states:
            state.result = self.expression(state, "u32", 2)
            state.last = self.jump(state)
            for is_loop in self.random.choice([(), (False,), (True,), (True, False)]):
                value = self.expression(state, "u32", 1)
                state.choices.append(Choice(value, self.jump(state), is_loop))

    def jump(self, state: State) -> Jump:
        target = self.random.choice(self.states)
        values = [self.expression(state, type_, 2) for type_ in target.types]
        fuel = state.fuel
        values[target.fuel] = Expression(f"p{fuel} - 1", lambda v: v.parameters[fuel] - 1)
        return Jump(target, values)

    def expression(self, state: State, type_: str, depth: int) -> Expression:
        if depth == 0 or self.random.random() < 0.4:
            return self.leaf(state, type_)
        mask = (1 << BITS[type_]) - 1
        match self.random.choice(["binary", "binary", "convert", "seen", "bump"]):
            case "convert":
                other = "u64" if type_ == "u32" else "u32"
                value = self.expression(state, other, depth - 1)
                return Expression(f"@as({type_}, {value.text})", lambda v: value.of(v) & mask)
            case "seen" if type_ == "u32":
                return Expression("seen", lambda v: v.seen)
            case "bump" if type_ == "u32":
                value = self.expression(state, type_, depth - 1)
                return Expression(f"bump({value.text})", lambda v: v.bump(value.of(v)))
            case _:
                a, b = (self.expression(state, type_, depth - 1) for _ in range(2))
                sign = self.random.choice([*OPERATIONS])
                of = OPERATIONS[sign]
                text = f"({a.text} {sign} {b.text})"
                return Expression(text, lambda v: of(a.of(v), b.of(v)) & mask)

    def leaf(self, state: State, type_: str) -> Expression:
        places = [i for i, t in enumerate(state.types) if t == type_]
        if not places or self.random.random() < 0.2:
            number = self.random.choice([0, 1, 77, 1000, 70_000])
            return Expression(f"@as({type_}, {number})", lambda _: number)
        place = self.random.choice(places)
        return Expression(f"p{place}", lambda v: v.parameters[place])


def run(state: State, values: Values) -> int:
    """Run a state machine in Python."""
    while values.parameters[state.fuel] != 0:
        jump = next((c.then for c in state.choices if c.is_taken(values)), state.last)
        values.parameters = [argument.of(values) for argument in jump.arguments]
        state = jump.target
    return state.result.of(values)


@settings(phases=(Phase.explicit, Phase.reuse, Phase.generate), max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_random_state_machines_do_what_python_does(seed: int) -> None:
    random = Random(seed)  # noqa: S311
    writer = Writer(random)
    writer.write()
    values, calls, out = Values([]), "", []
    for start in writer.states:
        values.parameters = [random.choice([0, 3, 999, WORD]) for _ in start.types]
        values.parameters[start.fuel] = random.randint(0, 3 * RETURN_STACK_DEPTH)
        passed = ", ".join(map(str, values.parameters))
        calls += f"  out[{len(out)}] = {start.name}({passed});\n"
        out.append(run(start, values))
    source = f"""
var seen: u32 = 0;
var out = @zeros([{len(out)}]u32);
fn bump(by: u32) u32 {{ seen += by; return seen; }}
{"".join(state.text for state in writer.states)}
task main() void {{
{calls}}}
"""
    assert_leaves(source + START, {"out": out})
