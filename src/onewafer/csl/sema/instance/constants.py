"""Integer constants of one word or two, the same on all PEs, as IR."""

from __future__ import annotations

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.image import ScalarType


def constant(held: ir.NumberType, number: int) -> ir.Expression:
    """Return a number as an IR constant, cut to the bits of its type."""
    if isinstance(held, ScalarType):
        return ir.Immediate(held, ir.canonical_word(number, held))
    low, high = number, number >> t.WORD_BITS
    return ir.Join(
        held,
        ir.Immediate(ScalarType.U32, ir.canonical_word(low, ScalarType.U32)),
        ir.Immediate(ScalarType.U32, ir.canonical_word(high, ScalarType.U32)),
    )


def known(expression: ir.Expression) -> int | None:
    """Return the unsigned value of a constant of two words; None: it is no such constant."""
    match expression:
        case ir.Join(
            low=ir.Immediate(per_pe=None, word=low), high=ir.Immediate(per_pe=None, word=high)
        ):
            return (high & t.WORD_MASK) << t.WORD_BITS | low & t.WORD_MASK
        case _:
            return None
