"""Operations on integer constants, as the instructions do them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Callable

_RESULTS: Final[dict[Opcode, Callable[[int, int], int]]] = {
    Opcode.ADD: lambda a, b: a + b,
    Opcode.SUB: lambda a, b: a - b,
    Opcode.MUL: lambda a, b: a * b,
}
COMPARISONS: Final[dict[Opcode, Callable[[int, int], bool]]] = {
    Opcode.EQUAL: lambda a, b: a == b,
    Opcode.NOT_EQUAL: lambda a, b: a != b,
    Opcode.LESS: lambda a, b: a < b,
    Opcode.LESS_EQUAL: lambda a, b: a <= b,
}


def compute(opcode: Opcode, type_: ScalarType, left: int, right: int) -> int:
    """Return the word of a sum, a difference or a product of two integers."""
    result = _RESULTS[opcode](to_number(left, type_), to_number(right, type_))
    return ir.canonical_word(result, type_)


def compare(opcode: Opcode, type_: ScalarType, left: int, right: int) -> bool:
    """Return the result of an integer comparison; False for any other operation."""
    holds = COMPARISONS.get(opcode)
    return holds is not None and holds(to_number(left, type_), to_number(right, type_))


def fold(expression: ir.Expression) -> ir.Expression:
    """Replace a simple operation on constants by its constant result."""
    match expression:
        case ir.Binary(
            opcode=opcode,
            type=ScalarType() as type_,
            left=ir.Immediate(per_pe=None, word=left),
            right=ir.Immediate(per_pe=None, word=right),
        ) if not type_.is_float:
            if opcode in COMPARISONS:
                return ir.Immediate(ScalarType.BOOL, int(compare(opcode, type_, left, right)))
            if opcode in _RESULTS and type_ is not ScalarType.BOOL:
                return ir.Immediate(type_, compute(opcode, type_, left, right))
        case ir.Convert(
            source=ScalarType() as source,
            target=ScalarType() as target,
            operand=ir.Immediate(per_pe=None, word=word),
        ) if not source.is_float and not target.is_float and target is not ScalarType.BOOL:
            return ir.Immediate(target, ir.canonical_word(to_number(word, source), target))
        case _:
            pass
    return expression


def to_number(word: int, type_: ScalarType) -> int:
    """Return the number that a word represents in a type."""
    bits = 8 * type_.num_bytes
    word &= (1 << bits) - 1
    return word - (1 << bits) if type_.is_signed and word >> (bits - 1) else word
