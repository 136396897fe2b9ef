"""The 16-bit floats: a program computes with one of them, and has the others while compiling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail

if TYPE_CHECKING:
    from onewafer.diagnostics import Span


def refuse_other(type_: t.Type, half: t.FloatType, span: Span | None) -> None:
    """Fail if values of a type that run time has hold another 16-bit float than the program's."""
    other = t.other_half(type_, half)
    if other is None:
        return
    what = f"a `{type_}`" if type_ == other else f"the `{other}` of a `{type_}`"
    fail(
        "other-half-format",
        f"{what} exists while compiling only: the 16-bit float of this program is `{half}`",
        span,
        help=f"write `{half}`, or `@fp16()` for whichever it is; or compile with "
        f"`--fp16-format={other}`",
    )
