"""What integers of a width compute, as Python's integers."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

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
COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "<": int.__lt__,
    "<=": int.__le__,
    ">": int.__gt__,
    ">=": int.__ge__,
    "==": int.__eq__,
    "!=": int.__ne__,
}


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


U64, I64 = (Width(64, is_signed) for is_signed in (False, True))


def to_float(number: int, *, bits: int, largest: int) -> Fraction | None:
    """Return a number rounded to nearest even; None: it is infinite."""
    size = abs(number)
    unit = 1 << max(size.bit_length() - bits, 0)
    quotient, rest = divmod(size, unit)
    quotient += 2 * rest > unit or (2 * rest == unit and quotient % 2 == 1)
    rounded = quotient * unit
    return None if rounded > largest else Fraction(rounded if number >= 0 else -rounded)
