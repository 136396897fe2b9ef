"""Rules and faults of `if` and `switch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.values import Value, show, type_of
from onewafer.diagnostics import Annotation, Diagnostic, Severity

if TYPE_CHECKING:
    from onewafer.diagnostics import Span


def missing_else(span: Span) -> NoReturn:
    """Fail because an `if` without `else` has no value."""
    fail(
        "missing-else",
        "no branch of this `if` is taken, so it has no value",
        span,
        help="add an `else`",
    )


def check_switched(value: Value, span: Span) -> None:
    """Fail if the operand of a `switch` cannot be compared with any arm."""
    type_ = type_of(value)
    if isinstance(type_, t.StructType | t.ArrayType) or type_ is t.VOID:
        fail(
            "type-mismatch",
            f"a `switch` cannot compare values of type `{type_}`",
            span,
            help="compare a number, an enum or a `bool` of it: a field or an element, for example",
        )


def no_arm(value: Value, span: Span) -> NoReturn:
    """Fail because no arm of a `switch` fits."""
    fail(
        "missing-else", f"no arm of this `switch` fits {show(value)}", span, help="add `else => …`"
    )


def no_arm_for(value: str, span: Span) -> NoReturn:
    """Fail because a `switch` that gives a value has no arm for a possible run-time value."""
    fail(
        "missing-else",
        f"no arm of this `switch` covers {value}, for which it would have no value",
        span,
        help="add `else => …`",
    )


def taken_value(value: Value, span: Span, first: Span) -> Fault:
    """Return the warning that an earlier arm of a `switch` takes the same value."""
    finding = Diagnostic(
        "unreachable-arm",
        f"{show(value)} has an earlier arm, so this one is never taken for it",
        Annotation(span),
        (Annotation(first, "this arm is taken"),),
        help="list each value in one arm only",
        severity=Severity.WARNING,
    )
    return Fault(finding)
