"""The value of a tensor access expression of evaluated terms."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.rules.elements import indexed
from onewafer.csl.sema.rules.indices import check_rank, plain
from onewafer.csl.sema.rules.loop_steps import access_struct, steps_of
from onewafer.csl.sema.values import Scalar, Struct, Value, conversions, type_of
from onewafer.csl.syntax.ast import BinaryOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.rules.access import Term
    from onewafer.diagnostics import Span


def tensor_access(
    base: Value,
    extents: Sequence[Value],
    terms: Sequence[Sequence[tuple[Term, Sequence[Value]]]],
    count: int,
    span: Span,
) -> Struct:
    """Combine the terms of every index into the struct of one row-major access."""
    pointer = type_of(base)
    if not isinstance(pointer, t.PointerType):
        fail("type-mismatch", f"a value of type `{pointer}` cannot be indexed", span)
    _, dimensions = indexed(pointer, span)
    if dimensions is None:
        dimensions = (0,)
    check_rank(dimensions, len(terms), span, f"`{pointer.pointee}`")
    zero = Scalar(t.COMPTIME_INT, 0)
    strides, offset = [zero] * count, zero
    for axis, index in enumerate(terms):
        scale = prod(dimensions[axis + 1 :])
        for term, factors in index:
            product = Scalar(t.COMPTIME_INT, term.sign * scale)
            for factor in factors:
                product = plain(BinaryOperator.MULTIPLY, product, factor, span)
            if term.variable is None:
                offset = plain(BinaryOperator.ADD, offset, product, span)
            else:
                strides[term.variable] = plain(
                    BinaryOperator.ADD, strides[term.variable], product, span
                )
    if count > 1:
        rounds = [conversions.forced_integer(e, span, "extent") for e in extents]
        apart = [conversions.forced_integer(s, span, "stride") for s in strides]
        strides = [Scalar(t.COMPTIME_INT, step) for step in steps_of(rounds, apart)]
    return access_struct(base, offset, strides, extents)
