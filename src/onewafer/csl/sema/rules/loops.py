"""Faults of loops and calls: ranges, and values that cannot be iterated or called."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail

if TYPE_CHECKING:
    from onewafer.diagnostics import Span


def endless_range(span: Span | None) -> NoReturn:
    """Fail because a range has step 0."""
    fail("value-out-of-range", "a range with step 0 does not end", span)


def not_iterable(type_: t.Type, span: Span) -> NoReturn:
    """Fail because a `for` loop cannot go over values of a type."""
    is_pointer = isinstance(type_, t.PointerType)
    fail(
        "type-mismatch",
        f"a `for` loop goes over a range or an array, not over a `{type_}`",
        span,
        help=f"write `for ({'p.*) |x|' if is_pointer else '@range(u16, n)) |i|'} {{ … }}`",
    )


def not_callable(type_: t.Type, span: Span) -> NoReturn:
    """Fail because values of a type cannot be called."""
    fail("not-callable", f"a value of type `{type_}` cannot be called", span)
