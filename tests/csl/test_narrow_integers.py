"""Integers of every width up to 32 bits compute at run time what they are as exact numbers.

Random operations on random numbers of random types are written as CSL and as Python's integers,
reduced to the width; both engines have to agree with these.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.csl.exact_integers import BINARY, DIVISION, SHIFTS, Width
from tests.csl.one_task import START, assert_leaves

NUM_RESULTS = 24
KINDS = ("binary", "binary", "division", "shift", "unary", "as", "bitcast", "compare")


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


# Shrinking a random program through its seed leads nowhere: a failure is replayed by it.
@settings(phases=(Phase.explicit, Phase.reuse, Phase.generate), max_examples=20)
@given(seed=st.integers(0, 1 << 32))
def test_integers_wrap_to_their_width(seed: int) -> None:
    source, expected = write_program(Random(seed))  # noqa: S311
    assert_leaves(source, {"out": expected})
