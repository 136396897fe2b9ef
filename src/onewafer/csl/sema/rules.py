"""Members, elements and addresses of comptime values, for both evaluators."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Final, NoReturn

from onewafer.csl.sema import conversions, operations, packed
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.in_memory import (
    address_of_field,
    address_of_variable,
    known_part,
    moved,
    pointer_to,
    struct_at,
)
from onewafer.csl.sema.loop_steps import access_struct, steps_of
from onewafer.csl.sema.names import suggest
from onewafer.csl.sema.values import (
    Array,
    FunctionValue,
    ModuleValue,
    Number,
    Pointer,
    Runtime,
    Scalar,
    Struct,
    TypeValue,
    Undefined,
    Value,
    Variable,
    not_comptime,
    show,
    type_of,
)
from onewafer.csl.syntax.ast import BinaryOperator
from onewafer.diagnostics import Annotation, Diagnostic, Severity
from onewafer.units import count_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.access import Term
    from onewafer.csl.sema.values import Module
    from onewafer.csl.syntax import ast
    from onewafer.diagnostics import Span


def expect_type(value: Value, span: Span) -> t.Type:
    """Return the type that a type expression gave, or fail."""
    if type(value) is TypeValue:
        return value.type
    # The type of a function is made of those of its parameters, one of which may be asked for here.
    is_function = isinstance(value, FunctionValue)
    what = "a function" if is_function else f"a value of type `{type_of(value)}`"
    fail("type-mismatch", f"a type is expected here, this is {what}", span)


def _not_active(base: Struct, name: str, span: Span) -> NoReturn:
    """Fail because another variant of a union was given a value."""
    active = next((n for n, v in base.items() if not isinstance(v, Undefined)), "")
    fail(
        "inactive-variant",
        f"`{name}` is not the active variant of this union: it was made with `{active}`",
        span,
        help=f"read `.{active}`; `@bitcast` reads a number as another type",
    )


def member(base: Value, name: str, span: Span) -> Value:
    """Return `base.name`; a module's run-time variable is returned as itself."""
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


def _way_to(name: str, type_: t.Type) -> str:
    """Return what leads to a field that a value of a type does not have."""
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
"""Part of a DSD → the builtin that returns a DSD with another value of it."""


def _how_to_change(name: str) -> str:
    """Return what to write where a part of a DSD is assigned to."""
    builtin = CHANGING_BUILTINS.get(name)
    return f"make another DSD of it: `{builtin}(dsd, …)`" if builtin else ""


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


def check_rank(dimensions: Sequence[int], rank: int, span: Span, what: str) -> None:
    """Fail unless there is one index a dimension."""
    if len(dimensions) != rank:
        fail(
            "type-mismatch",
            f"{what} has {count_of(len(dimensions), 'dimension')}, "
            f"it is indexed with {count_of(rank, 'number')}",
            span,
        )


def how_to_vary(type_: t.Type) -> str:
    """Return the advice for a variable of a type that only exists at compile time."""
    if type_ is t.RANGE:
        return "keep its bounds in variables, and write `@range(T, start, stop, step)` in the `for`"
    if isinstance(type_, t.StructType):
        return "declare it `const`, or give each field a sized type: `.{ .x = @as(i16, 1) }`"
    return "declare it `const`, or give it a sized type: `var x: i16 = …`"


def plain(op: BinaryOperator, left: Value, right: Value, span: Span) -> Scalar:
    """Compute on integers of any type as unbounded ones."""
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


def element(container: Value, indices: Sequence[Value], span: Span) -> Value:
    """Return `container[indices]` of a comptime array, tuple or constant behind a pointer."""
    match container:
        case Array(type_, elements):
            index = flat_index(type_.dimensions, indices, span, f"`{type_}`")
            return elements[conversions.forced_integer(index, span, "index")]
        case Struct(None, fields):
            (number,) = (conversions.forced_integer(i, span, "an index") for i in indices)
            if not 0 <= number < len(fields):
                fail(
                    "index-out-of-range",
                    f"index {number} is outside of a tuple of {len(fields)}",
                    span,
                )
            return fields[number]
        case Pointer(_, variable) if variable.is_const:
            return known_at(element_pointer(container, indices, span), span)
        case Variable() | Runtime() | Pointer():
            not_comptime(container, span)
        case _:
            fail("type-mismatch", f"a value of type `{type_of(container)}` cannot be indexed", span)


# --- addresses -----------------------------------------------------------------------------------


def address_of_global(module: Module, name: str, span: Span) -> Value:
    """Return `&name` of a top-level declaration; a function is its own address."""
    early = module.early_lvalue(name)
    if early is not None:
        return address_of_variable(early)
    value = module.read(name, span)
    match value:
        case FunctionValue():
            return value
        case Struct(address=address) if address is not None:
            return address
        case _:
            return address_of_variable(module.materialize(name, span))


def address_of_member(base: Value, name: str, span: Span) -> Value:
    """Return `&base.name`."""
    match base:
        case ModuleValue(module):
            return address_of_global(module, name, span)
        case Struct(type=t.PackedType() as type_):
            member(base, name, span)
            _no_address(type_, span)
        case Struct():
            member(base, name, span)  # refuses what a union has not
            return address_of_field(base, (base.names or ()).index(name), span)
        case Variable(type=t.PackedType() as type_):
            return _address_in_packed(base, type_, name, span)
        case _:
            member(base, name, span)  # says what has no such field
            no_address(span)


def _address_in_packed(
    base: Variable, type_: t.PackedType, name: str, span: Span
) -> Pointer | Runtime:
    """Return the address of a variant of an `extern union`; other fields may lie between bytes."""
    field, _ = packed.field_of(type_, name, span)
    if type_.qualifier == "packed":
        _no_address(type_, span)
    if t.is_narrow(field):
        fail(
            "type-mismatch",
            f"a variant of type `{field}` has no address: others fill the rest of its bytes",
            span,
            help="take the address of the whole, or copy the variant to a variable",
        )
    address = pointer_to(base)
    return moved(address, 0, field, is_const=base.is_const)


def _no_address(type_: t.PackedType, span: Span) -> NoReturn:
    fail(
        "type-mismatch",
        f"a field of a `{type_.kind}` has no address: it is bits of an integer",
        span,
        help="take the address of the whole, or copy the field to a variable",
    )


def expect_pointer(value: Value, span: Span) -> Pointer:
    """Return a comptime pointer, or fail."""
    if isinstance(value, Pointer):
        return value
    if isinstance(value, Variable | Runtime):
        not_comptime(value, span)
    fail("type-mismatch", f"`.*` needs a pointer, this is of type `{type_of(value)}`", span)


def check_single(pointer: t.PointerType, span: Span) -> None:
    """Fail if `.*` is written after a pointer to many."""
    if pointer.is_many:
        fail(
            "type-mismatch",
            f"a `{pointer}` is indexed, not dereferenced",
            span,
            help="write `p[0]`",
        )


def dereferenced(value: Value, span: Span) -> Pointer:
    """Return the address of `value.*`, or fail."""
    pointer = expect_pointer(value, span)
    check_single(pointer.type, span)
    return pointer


def known_at(pointer: Value, span: Span) -> Value:
    """Return `pointer.*` if that is constant, or fail."""
    if isinstance(pointer, Pointer):
        check_single(pointer.type, span)
    if isinstance(pointer, Pointer) and pointer.variable.is_const:
        known = known_part(pointer)
        if not isinstance(known, Undefined):
            return known
    fail("not-comptime", "memory cannot be read at compile time", span)


def pointed_at(pointer: Value, span: Span) -> Value:
    """Return `pointer.*` where a variable stands for itself: the variable."""
    match pointer:
        case Pointer(t.PointerType(_, _, True)):
            return known_at(pointer, span)  # refuses it
        case Pointer(t.PointerType(t.StructType())):
            return struct_at(pointer, span)
        case Pointer(t.PointerType(pointee), variable, 0) if variable.type == pointee:
            return variable
        case _:
            return known_at(pointer, span)


def element_pointer(base: Value, indices: Sequence[Value], span: Span) -> Pointer:
    """Return the address of an element of a comptime-known array."""
    pointer = expect_pointer(base, span)
    element_type, dimensions = indexed(pointer.type, span)
    if dimensions is None:
        index = conversions.integer(indices[0], span, "an index")
    else:
        index = flat_index(dimensions, indices, span, f"`{pointer.type.pointee}`")
    number = conversions.forced_integer(index, span, "address")
    type_ = t.PointerType(element_type, pointer.type.is_const)
    offset = pointer.offset + number * t.num_bytes(element_type)
    return Pointer(type_, pointer.variable, offset, pointer.reach)


def indexed(pointer: t.PointerType, span: Span) -> tuple[t.Type, tuple[int, ...] | None]:
    """Return element type and dimensions (None: unknown length) of a pointer's target."""
    match pointer:
        case t.PointerType(pointee, _, True):
            return pointee, None
        case t.PointerType(t.ArrayType(dimensions, element_type)):
            return element_type, dimensions
        case _:
            fail(
                "type-mismatch",
                f"a value of type `{pointer}` cannot be indexed",
                span,
                help="it leads to one value, `p.*`; if more follow: "
                f"`@ptrcast([*]{pointer.pointee}, p)`",
            )


def no_address(span: Span) -> NoReturn:
    """Fail because an expression has no address."""
    fail(
        "not-assignable",
        "only variables and their elements have an address",
        span,
        help="put the value into a `var` first",
    )


def no_comptime_address(name: str, span: Span) -> NoReturn:
    """Fail because comptime locals are not in PE memory."""
    fail("not-assignable", f"`{name}` lives at compile time only and has no address", span)


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
    """Fail because no arm of a `switch` that is a value is for one of run time."""
    fail(
        "missing-else",
        f"no arm of this `switch` covers {value}, for which it would have no value",
        span,
        help="add `else => …`",
    )


def taken_value(value: Value, span: Span, first: Span) -> Fault:
    """Return the warning that an arm of a `switch` is never taken for a value."""
    finding = Diagnostic(
        "unreachable-arm",
        f"{show(value)} has an earlier arm, so this one is never taken for it",
        Annotation(span),
        (Annotation(first, "this arm is taken"),),
        help="list each value in one arm only",
        severity=Severity.WARNING,
    )
    return Fault(finding)


# --- attributes of variables ---------------------------------------------------------------------


def check_width_for_host(type_: t.Type, span: Span) -> None:
    """Fail if an exported variable has integers that fill no bytes."""
    if any(t.is_narrow(t.element(leaf)) for _, leaf in t.leaves(t.element(type_))):
        fail(
            "type-mismatch",
            f"a `{type_}` cannot be exported: no host has integers of this width",
            span,
            help="export a variable of 8, 16, 32 or 64 bits, and convert its value with `@as`",
        )


def alignment(value: Value, span: Span) -> int:
    """Return the bytes of an `align(…)`, or fail."""
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
    """Fail if a local variable asks for what only globals have."""
    for name, node in (
        ("linksection", declaration.link_section),
        ("linkname", declaration.link_name),
    ):
        if node is not None:
            fail("unsupported-feature", f"`{name}` is for global variables only", node.span,
                 help="leave it out, or declare the variable at the top level")  # fmt: skip


def tensor_access(
    base: Value,
    extents: Sequence[Value],
    terms: Sequence[Sequence[tuple[Term, Sequence[Value]]]],
    count: int,
    span: Span,
) -> Struct:
    """Combine the evaluated terms of every index to one row-major access, a struct."""
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
