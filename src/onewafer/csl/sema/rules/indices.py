"""Indices of arrays: their number, their bounds, and the element that they name."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.values import Number, Scalar, Value, conversions, operations
from onewafer.csl.syntax.ast import BinaryOperator
from onewafer.units import count_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.diagnostics import Span


def check_rank(dimensions: Sequence[int], rank: int, span: Span, what: str) -> None:
    """Fail unless there is one index per dimension."""
    if len(dimensions) != rank:
        fail(
            "type-mismatch",
            f"{what} has {count_of(len(dimensions), 'dimension')}, "
            f"it is indexed with {count_of(rank, 'number')}",
            span,
        )


def flat_index(
    dimensions: Sequence[int], indices: Sequence[Value], spans: Span, what: str
) -> Scalar:
    """Return the row-major element number of comptime indices, checked against the dimensions."""
    check_rank(dimensions, len(indices), spans, what)
    total: Value = Scalar(t.COMPTIME_INT, 0)
    for axis, index in enumerate(indices):
        number = conversions.integer(index, spans, "an index")
        if not 0 <= number.value < dimensions[axis]:
            fail(
                "index-out-of-range",
                outside(number.value, what, dimensions[axis]),
                spans,
            )
        step = Scalar(t.COMPTIME_INT, prod(dimensions[axis + 1 :]))
        total = plain(
            BinaryOperator.ADD, total, plain(BinaryOperator.MULTIPLY, number, step, spans), spans
        )
    assert isinstance(total, Scalar)
    return total


def outside(index: Number, what: str, size: int) -> str:
    """Return the message for an index outside a dimension of `size` elements."""
    indices = f"(0 … {size - 1})" if size else "which has no elements"
    return f"index {index} is outside of {what}{',' * (not size)} {indices}"


def plain(op: BinaryOperator, left: Value, right: Value, span: Span) -> Scalar:
    """Compute `left op right` on integers of any type, without overflow."""
    a, b = (
        Scalar(t.COMPTIME_INT, v.value, v.taint)
        for v in (
            conversions.integer(left, span, "a size"),
            conversions.integer(right, span, "a size"),
        )
    )
    result = operations.binary(op, a, b, span)
    assert isinstance(result, Scalar)
    return result
