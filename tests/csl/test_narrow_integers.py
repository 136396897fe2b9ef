"""Integers of every width up to 32 bits compute at run time what they are as exact numbers.

Random operations on random numbers of random types are written as CSL and as Python's integers,
reduced to the width; both engines have to agree with these.
"""

from __future__ import annotations

import operator
import struct
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.csl.driver import CompileOptions, MemoryFiles, compile_program
from onewafer.simulator import Machine

if TYPE_CHECKING:
    from collections.abc import Callable

LAYOUT = 'layout { @set_rectangle(1, 1); @set_tile_code(0, 0, "pe.csl", .{}); }'
START = """
comptime {
  @bind_local_task(main, @get_local_task_id(26));
  @activate(@get_local_task_id(26));
}
"""
NUM_RESULTS = 24
BINARY: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
}
DIVISION: dict[str, Callable[[int, int], int]] = {
    "/": lambda a, b: abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1),
    "%": lambda a, b: abs(a) % abs(b) * (-1 if a < 0 else 1),
}
SHIFTS: dict[str, Callable[[int, int], int]] = {"<<": operator.lshift, ">>": operator.rshift}
KINDS = ("binary", "binary", "division", "shift", "unary", "as", "bitcast", "compare")


@dataclass(frozen=True)
class Width:
    bits: int
    is_signed: bool

    @property
    def maximum(self) -> int:
        return (1 << (self.bits - self.is_signed)) - 1

    def __str__(self) -> str:
        return f"{'i' if self.is_signed else 'u'}{self.bits}"

    def wrap(self, value: int) -> int:
        value %= 1 << self.bits
        is_negative = self.is_signed and value >> (self.bits - 1)
        return value - (1 << self.bits) if is_negative else value

    def draw(self, random: Random) -> int:
        edges = (0, 1, -1, 1 << (self.bits - 1), (1 << (self.bits - 1)) - 1)
        return self.wrap(random.choice((*edges, *(random.getrandbits(32) for _ in edges))))


def draw_width(random: Random) -> Width:
    return Width(random.randint(1, 32), random.choice((False, True)))


@dataclass
class Computed:
    """An operation: its operands (type and number), how it is written of these, what it gives."""

    operands: tuple[tuple[Width, int], ...]
    form: str
    type: Width
    value: int


def draw_operation(random: Random) -> Computed:
    width = draw_width(random)
    a, b = width.draw(random), width.draw(random)
    both = ((width, a), (width, b))
    match random.choice(KINDS):
        case "division" if b != 0:
            symbol = random.choice(tuple(DIVISION))
            return Computed(both, f"{{0}} {symbol} {{1}}", width, DIVISION[symbol](a, b))
        case "shift":
            symbol, count = random.choice(tuple(SHIFTS)), random.randint(0, width.bits)
            operands = (width, a), (Width(16, is_signed=False), count)
            return Computed(operands, f"{{0}} {symbol} {{1}}", width, SHIFTS[symbol](a, count))
        case "unary":
            symbol = random.choice("-~")
            return Computed(both[:1], symbol + "{0}", width, -a if symbol == "-" else ~a)
        case "as":
            other = draw_width(random)
            return Computed(((other, value := other.draw(random)),), "@as(T, {0})", width, value)
        case "bitcast":
            other = Width(width.bits, not width.is_signed)
            return Computed(((other, other.wrap(a)),), "@bitcast(T, {0})", width, a)
        case "compare":
            return Computed(both, "@as(T, {0} < {1})", width, int(a < b))
        case _:
            symbol = random.choice(tuple(BINARY))
            return Computed(both, f"{{0}} {symbol} {{1}}", width, BINARY[symbol](a, b))


def write_program(random: Random) -> tuple[str, list[int]]:
    """Return a program that leaves the low 32 bits of each result in `out`, and these."""
    declarations, statements, expected = [f"var out = @zeros([{NUM_RESULTS}]u32);"], [], []
    for number in range(NUM_RESULTS):
        operation = draw_operation(random)
        names = [f"x{number}_{i}" for i in range(len(operation.operands))]
        for name, (type_, value) in zip(names, operation.operands, strict=True):
            if random.choice((False, True)):
                declarations.append(f"var {name}: {type_} = {value};")
            else:
                declarations.append(f"var {name}_all = [2]{type_}{{ 0, {value} }};")
                statements.append(f"const {name} = {name}_all[1];")
        written = operation.form.format(*names).replace("(T,", f"({operation.type},")
        declarations.append(f"var m{number}: {operation.type};")
        statements.append(f"m{number} = {written};")
        statements.append(f"out[{number}] = @as(u32, m{number});")
        expected.append(operation.type.wrap(operation.value) & 0xFFFFFFFF)
    lines = "\n  ".join(statements)
    return "\n".join((*declarations, f"task main() void {{\n  {lines}\n}}{START}")), expected


def run_program(source: str, engine: str, names: tuple[str, ...]) -> dict[str, list[int]]:
    """Run a program of one PE and return arrays of `u32`, by name."""
    architecture = load_architecture("wse3")
    options = CompileOptions(entry="layout.csl", architecture=architecture, uses_memcpy=False)
    image = compile_program(options, MemoryFiles({"layout.csl": LAYOUT, "pe.csl": source}))
    machine = Machine(image, architecture, engine=engine)
    machine.run(max_cycles=1_000_000)
    found: dict[str, list[int]] = {}
    for name in names:
        symbol = machine.symbol(0, 0, name)
        payload = machine.peek(0, 0, symbol.address, symbol.num_bytes)
        found[name] = list(struct.unpack(f"<{symbol.num_bytes // 4}I", payload))
    return found


# Shrinking a random program through its seed leads nowhere: a failure is replayed by it.
@settings(phases=(Phase.explicit, Phase.reuse, Phase.generate), max_examples=20)
@given(seed=st.integers(0, 1 << 32))
def test_integers_wrap_to_their_width(seed: int) -> None:
    source, expected = write_program(Random(seed))  # noqa: S311
    for engine in ("reference", "fast"):
        assert run_program(source, engine, ("out",))["out"] == expected, source
