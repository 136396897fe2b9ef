"""The 16-bit floats: a program has one of them at run time, and all of them at compile time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail

if TYPE_CHECKING:
    from onewafer.csl.sema.values import FunctionValue
    from onewafer.diagnostics import Span


def refuse_other(type_: t.Type, half: t.FloatType, span: Span | None) -> None:
    """Fail if a run-time type contains another 16-bit float than the program's."""
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


def of_library_function(function: FunctionValue) -> t.FloatType | None:
    """Return a 16-bit float in a library function's type other than the program's, if any."""
    if not function.module.code.is_library:
        return None
    type_, half = function.module.function_type(function.declaration), function.module.session.half
    for part in (type_.result, *type_.parameters):
        held = part.pointee if isinstance(part, t.PointerType) else part
        other = None if held is None else t.other_half(held, half)
        if other is not None:
            return other
    return None


def refuse_library_function(function: FunctionValue, other: t.FloatType, span: Span) -> NoReturn:
    """Fail because a library function for another 16-bit float is called at run time."""
    name, code = function.declaration.name, function.module.code
    wider = name.replace("complex_32", "complex_64")
    instead = f"`{wider}`" if wider in code.declarations else "a function of another type"
    fail(
        "other-half-format",
        f"`{name}` of `{code.file.source.path}` is for `{other}`, which exists while compiling "
        f"only: the 16-bit float of this program is `{function.module.session.half}`",
        span,
        help=f"call {instead}; or compile with `--fp16-format={other}`",
    )
