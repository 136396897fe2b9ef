"""Numbers that are the same on all PEs, as IR: of a type of one word, or of two."""

from __future__ import annotations

from typing import Final

from onewafer.csl import ir
from onewafer.image import ScalarType

_WORD_BITS: Final = 32
_WORD: Final = (1 << _WORD_BITS) - 1


def constant(held: ir.NumberType, number: int) -> ir.Expression:
    """Return the low bits of a number, as many as the type has."""
    if isinstance(held, ScalarType):
        return ir.Immediate(held, _canonical(number))
    low, high = number, number >> _WORD_BITS
    return ir.Join(
        held,
        ir.Immediate(ScalarType.U32, _canonical(low)),
        ir.Immediate(ScalarType.U32, _canonical(high)),
    )


def known(expression: ir.Expression) -> int | None:
    """Return what a constant of two words is without a sign; None: it is no such constant."""
    match expression:
        case ir.Join(
            low=ir.Immediate(per_pe=None, word=low), high=ir.Immediate(per_pe=None, word=high)
        ):
            return (high & _WORD) << _WORD_BITS | low & _WORD
        case _:
            return None


def _canonical(number: int) -> int:
    """Return the low 32 bits as `ir.Immediate` has them."""
    word = number & _WORD
    return word - (_WORD + 1) if word >> _WORD_BITS - 1 else word
