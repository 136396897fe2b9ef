"""Reading structs field by field, with errors that name the fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.faults.names import suggest
from onewafer.csl.sema.values import Scalar, Struct, Value, Void, truth, type_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.diagnostics import Span


def read_fields(
    value: Value,
    what: str,
    span: Span,
    *,
    known: Sequence[str],
    required: Sequence[str] = (),
    unsupported: Sequence[str] = (),
) -> Mapping[str, Value]:
    """Return the fields of a configuration struct, or fail if one is unknown or missing."""
    match value:
        case Struct(names, fields) if names is not None:
            found = dict(zip(names, fields, strict=True))
        case Struct(None, ()):
            found = {}
        case _:
            fail(
                "type-mismatch",
                f"{what} is a struct, this is of type `{type_of(value)}`",
                span,
                help=f"write `.{{ .{(*required, *known)[0]} = … }}`",
            )
    for name in found:
        if name in unsupported:
            fail("unsupported-feature", f"field `{name}` of {what} is not supported yet", span)
        if name not in known:
            fail(
                "unknown-field",
                f"{what} has no field `{name}`",
                span,
                notes=(f"the fields are {', '.join(known)}",),
                help=suggest(name, known),
            )
    for name in required:
        if name not in found or isinstance(found[name], Void):
            fail("missing-field", f"{what} needs the field `{name}`", span)
    return found


def check_names(given: Sequence[str], names: Sequence[str], what: str, span: Span | None) -> None:
    """Fail unless each field of a struct type is given, and no other."""
    for name in given:
        if name not in names:
            known = f"its fields are {_quoted(names)}"
            advice = suggest(name, names) or known
            fail("unknown-field", f"{what} has no field `{name}`", span, help=advice)
    if missing := [name for name in names if name not in given]:
        those = "the field" if len(missing) == 1 else "the fields"
        fail(
            "missing-field",
            f"a value of {what} also needs {those} {_quoted(missing)}",
            span,
            help=f"add `.{missing[0]} = …`",
        )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def read_flag(fields: Mapping[str, Value], name: str, span: Span) -> bool:
    """Return a `bool` field; absent: false."""
    value = fields.get(name)
    if value is None:
        return False
    if isinstance(value, Scalar) and value.type is not t.BOOL:
        fail(
            "type-mismatch",
            f"`.{name}` is `true` or `false`, this is of type `{value.type}`",
            span,
        )
    return truth(value, span, name)


def read_choice(value: Value, what: str, choices: Sequence[str], span: Span) -> str | None:
    """Return the one name that is true in a struct such as `.{ .high = true }`."""
    if not isinstance(value, Struct):
        fail(
            "type-mismatch",
            f"{what} is a struct, this is of type `{type_of(value)}`",
            span,
            help=f"write `.{{ .{choices[0]} = true }}`; it is one of {', '.join(choices)}",
        )
    fields = read_fields(value, what, span, known=choices)
    chosen = [name for name in fields if read_flag(fields, name, span)]
    if len(chosen) > 1:
        fail("type-mismatch", f"{what} is one of {', '.join(choices)}, not several", span)
    return chosen[0] if chosen else None


_PRIORITIES: Final = ("low", "medium", "high")


def read_priority(fields: Mapping[str, Value], span: Span) -> int:
    """Return the rank in `.priority`, from 0; the lowest if it is absent."""
    if "priority" not in fields:
        return 0
    chosen = read_choice(fields["priority"], "`priority`", _PRIORITIES, span)
    return _PRIORITIES.index(chosen) if chosen else 0
