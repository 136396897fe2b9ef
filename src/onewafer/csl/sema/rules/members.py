"""Types that expressions mean, and members of values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.faults.names import suggest
from onewafer.csl.sema.values import (
    FunctionValue,
    ModuleValue,
    Scalar,
    Struct,
    TypeValue,
    Undefined,
    Value,
    packed,
    type_of,
)

if TYPE_CHECKING:
    from onewafer.diagnostics import Span


def expect_type(value: Value, span: Span) -> t.Type:
    """Return the type that a type expression gave, or fail."""
    if type(value) is TypeValue:
        return value.type
    # `type_of` a function evaluates its parameters' types, one of which this may be.
    is_function = isinstance(value, FunctionValue)
    what = "a function" if is_function else f"a value of type `{type_of(value)}`"
    fail("type-mismatch", f"a type is expected here, this is {what}", span)


def member(base: Value, name: str, span: Span) -> Value:
    """Return `base.name`; of a module's run-time variable, its `Variable`."""
    match base:
        case Struct():
            value = base.get(name)
            if value is None:
                names = base.names or ()
                fail(
                    "unknown-field",
                    f"there is no field `{name}`",
                    span,
                    notes=(f"the fields are {', '.join(names) or 'none'}",),
                    help=suggest(name, names),
                )
            if isinstance(value, Undefined) and base.type is not None and base.type.is_union:
                _not_active(base, name, span)
            return value
        case ModuleValue(module):
            return module.read(name, span)
        case Scalar(t.PackedType()):
            return packed.read(base, name, span)
        case TypeValue(t.EnumType(_, members) as enum):
            if name not in members:
                fail(
                    "unknown-field", f"`{enum}` has no member `{name}`", span,
                    help=suggest(name, tuple(members)),
                )  # fmt: skip
            return Scalar(enum, members[name])
        case _:
            fail(
                "unknown-field", f"a value of type `{type_of(base)}` has no field `{name}`", span,
                help=_way_to(name, type_of(base)),
            )  # fmt: skip


def _not_active(base: Struct, name: str, span: Span) -> NoReturn:
    active = next((n for n, v in base.items() if not isinstance(v, Undefined)), "")
    fail(
        "inactive-variant",
        f"`{name}` is not the active variant of this union: it was made with `{active}`",
        span,
        help=f"read `.{active}`; `@bitcast` reads a number as another type",
    )


def _way_to(name: str, type_: t.Type) -> str:
    """Return the advice for a field that a type lacks, if another expression has it."""
    match type_:
        case t.PointerType(t.PackedType(names) | t.StructType(names), _, False) if names:
            return f"the pointer leads to it: `p.*.{name}`" if name in names else ""
        case _:
            return _how_to_change(name) if type_ in t.DSDS else ""


CHANGING_BUILTINS: Final = {
    "base_address": "@set_dsd_base_addr",
    "offset": "@increment_dsd_offset",
    "stride": "@set_dsd_stride",
    "extent": "@set_dsd_length",
    "length": "@set_dsd_length",
}
"""Field of a DSD → the builtin that returns a DSD with another value of the field."""


def _how_to_change(name: str) -> str:
    """Return the advice for an assignment to a field of a DSD."""
    builtin = CHANGING_BUILTINS.get(name)
    return f"make another DSD of it: `{builtin}(dsd, …)`" if builtin else ""
