"""Attributes of variables, and types that variables cannot have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.values import Value, conversions

if TYPE_CHECKING:
    from onewafer.csl.syntax import ast
    from onewafer.diagnostics import Span


def how_to_vary(type_: t.Type) -> str:
    """Return the advice for a variable whose type exists at compile time only."""
    if type_ is t.RANGE:
        return "keep its bounds in variables, and write `@range(T, start, stop, step)` in the `for`"
    if isinstance(type_, t.StructType):
        return "declare it `const`, or give each field a sized type: `.{ .x = @as(i16, 1) }`"
    return "declare it `const`, or give it a sized type: `var x: i16 = …`"


def check_width_for_host(type_: t.Type, span: Span) -> None:
    """Fail if an exported variable has integers whose width is not a whole number of bytes."""
    if any(t.is_narrow(t.element(leaf)) for _, leaf in t.leaves(t.element(type_))):
        fail(
            "type-mismatch",
            f"a `{type_}` cannot be exported: no host has integers of this width",
            span,
            help="export a variable of 8, 16, 32 or 64 bits, and convert its value with `@as`",
        )


def alignment(value: Value, span: Span) -> int:
    """Return the number of bytes in `align(…)`, or fail."""
    number = conversions.forced_integer(value, span, "alignment")
    if number < 1 or number & (number - 1):
        fail(
            "value-out-of-range",
            f"an alignment is a power of two, not {number}",
            span,
            help="write the bytes: `align(16)`",
        )
    return number


def check_unlinked(declaration: ast.Variable) -> None:
    """Fail if a local variable has an attribute that is for globals."""
    for name, node in (
        ("linksection", declaration.link_section),
        ("linkname", declaration.link_name),
    ):
        if node is not None:
            fail("unsupported-feature", f"`{name}` is for global variables only", node.span,
                 help="leave it out, or declare the variable at the top level")  # fmt: skip
