"""Lvalues: the addresses of variables and elements, and loads from them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NoReturn

from onewafer.csl import ir
from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.bound_names import PlacedNumber, RuntimeLocal
from onewafer.csl.sema.runtime import order
from onewafer.csl.sema.runtime.dispatch import evaluate, evaluate_comptime, evaluates, operand
from onewafer.csl.sema.runtime.temporaries import steady
from onewafer.csl.sema.values import (
    Array,
    FunctionValue,
    Pointer,
    Range,
    Runtime,
    Scalar,
    Struct,
    Undefined,
    Value,
    Variable,
    conversions,
    force_all,
    is_comptime,
    type_of,
)
from onewafer.csl.sema.values.in_memory import (
    address_of_field,
    address_of_variable,
    known_part,
    pointer_to,
    struct_at,
)
from onewafer.csl.syntax import ast
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.diagnostics import Span


def address_of(a: Analyzer, node: ast.Expression) -> Value:
    """Return `&node`: a pointer; a function stands for its address."""
    match node:
        case ast.Name(name=name, span=span):
            bound = a.names.find(name)
            match bound:
                case None:
                    return rules.address_of_global(a.module, name, span)
                case Variable():
                    return pointer_to(bound)
                case FunctionValue():
                    return bound
                case Struct(address=address) if address is not None:
                    return address
                case Scalar() | Array() | Struct():
                    return address_of_variable(materialize(a, name, bound, span))
                case _:
                    rules.no_address(span)
        case ast.Member(base=base, name=name, span=span):
            container = operand(a, base)
            is_packed = isinstance(type_of(container), t.PackedType)
            if isinstance(container, Struct) and container.address is None and not is_packed:
                pointer = address_of(a, base)  # a known struct, put into memory
                container = load(a, pointer, span)
            return rules.address_of_member(container, name, span)
        case ast.Dereference(base=base, span=span):
            return dereferenced(evaluate(a, base), span)
        case ast.Index(base=base, indices=indices, span=span):
            container = operand(a, base)
            if isinstance(container, Struct):
                return _address_in_tuple(a, container, indices, span)
            pointer = base_pointer(a, base, container)
            mark = order.here(a)
            numbers = order.in_order(a, indices)
            return element_pointer(a, order.before(a, mark, pointer, base.span), numbers, span)
        case _:
            rules.no_address(node.span)


def _address_in_tuple(
    a: Analyzer, container: Struct, indices: Sequence[ast.Expression], span: Span
) -> Value:
    """Return `&t[k]` of a tuple in memory, or fail."""
    numbers = [evaluate_comptime(a, index) for index in indices]
    rules.element(container, numbers, span)  # refuses an index out of range
    (number,) = numbers
    return address_of_field(container, conversions.forced_integer(number, span, "an index"), span)


def materialize(a: Analyzer, name: str, value: Value, span: Span) -> Variable:
    """Put a known local value into memory; a `comptime var` gets a variable for each value."""
    type_ = type_of(value)
    if not t.can_vary(type_, a.half) or not is_comptime(value):
        rules.no_address(span)
    changing = a.names.comptime_variable(name)
    if changing is not None and changing.variable is not None:
        return changing.variable
    kept = value.copy() if changing is not None and isinstance(value, Array) else value
    variable = Variable(f"{a.name}.{name}", type_, kept, span, is_const=True)
    if changing is not None:
        changing.variable = variable
        return variable
    scope = a.names.scope_of(name)
    assert scope is not None
    match scope[name], value:
        case PlacedNumber(variable=placed), _:
            return placed
        case _, Scalar():
            scope[name] = PlacedNumber(value, variable)
        case _, Struct():
            scope[name] = struct_at(address_of_variable(variable), span)
        case _:
            scope[name] = variable
    return variable


def base_pointer(a: Analyzer, node: ast.Expression, value: Value) -> Value:
    """Return the pointer that an index applies to: an array's address, or a pointer's value.

    `value` is what `operand` gives for `node`.
    """
    match value:
        case Variable(type=t.PointerType()):
            return a.load_variable(value, node.span)
        case Variable(type=t.ArrayType()):
            return pointer_to(value)
        case Array():
            return _address_of_array(a, node, value)
        case Pointer() | Runtime(t.PointerType()):
            return value
        case _:
            a.load(value, node.span)
            fail(
                "type-mismatch", f"a value of type `{type_of(value)}` cannot be indexed", node.span
            )


def _address_of_array(a: Analyzer, node: ast.Expression, value: Array) -> Value:
    if not is_comptime(value):
        return address_of_variable(order.stored(a, "array", value, value.type, node.span))
    if not t.can_vary(value.type, a.half):
        fail(
            "not-comptime",
            f"elements of a `{value.type}` exist while compiling only, and so do their indices",
            node.span,
            help="index it with a number that is known, or choose with a `switch`",
        )
    if _has_address(a, node):
        return address_of(a, node)
    return address_of_variable(
        Variable(f"{a.name}.array", value.type, value, node.span, is_const=True)
    )


def _has_address(a: Analyzer, node: ast.Expression) -> bool:
    """Tell whether `address_of` a known array works: it, or the struct around it, is in memory."""
    match node:
        case ast.Member(base=base) | ast.Index(base=base):
            return _has_address(a, base)
        case ast.Name(name=name, span=span):
            bound = a.names.find(name)
            value = a.module.read(name, span) if bound is None else bound
            if not isinstance(value, Struct) or value.address is not None:
                return True
            return t.can_vary(type_of(value), a.half) and is_comptime(value)
        case ast.Dereference():
            return True
        case _:
            return False


def expect_pointer(value: Value, span: Span) -> Pointer | Runtime:
    """Return a value that is a pointer with a known target type, or fail."""
    match value:
        case Pointer(type_) | Runtime(t.PointerType() as type_):
            if type_.pointee is t.ANYOPAQUE:
                fail(
                    "type-mismatch",
                    f"a `{type_}` does not say what lies there",
                    span,
                    help="convert it first: `@ptrcast(*[1]i16, …)`",
                )
            return value
        case _:
            fail("type-mismatch", f"`.*` needs a pointer, this is of type `{type_of(value)}`", span)


def dereferenced(value: Value, span: Span) -> Pointer | Runtime:
    """Return the address of `value.*`, or fail."""
    pointer = expect_pointer(value, span)
    assert isinstance(pointer.type, t.PointerType)
    rules.check_single(pointer.type, span)
    return pointer


def index_value(
    a: Analyzer, value: Value, span: Span, held: ScalarType = ScalarType.U16
) -> ir.Expression:
    """Return an index of any integer type as IR in the 16-bit type `held`."""
    type_ = type_of(value)
    if not t.is_integer(type_):
        fail("type-mismatch", f"an index is an integer, this is of type `{type_}`", span)
    if isinstance(value, Scalar):
        target = t.I16 if held is ScalarType.I16 or value.value < 0 else t.U16
        return a.sized(Scalar(t.COMPTIME_INT, value.value, value.taint), target, span)
    source = t.register_type(type_)
    assert source is not None
    expression = a.expression(value, span)
    return expression if source is held else ir.Convert(source, held, expression)


def element_pointer(
    a: Analyzer, base: Value, indices: Sequence[Value], span: Span
) -> Pointer | Runtime:
    """Return the address of an element; known indices are folded into its offset."""
    pointer = expect_pointer(base, span)
    type_ = pointer.type
    assert isinstance(type_, t.PointerType)
    element, dimensions = rules.indexed(type_, span)
    result = t.PointerType(element, type_.is_const)
    rules.check_rank(dimensions or (0,), len(indices), span, f"`{type_.pointee}`")
    size, known, unknown = t.num_bytes(element), 0, None
    for axis, index in enumerate(indices):
        scale = prod((dimensions or (0,))[axis + 1 :]) * size
        if isinstance(index, Scalar):
            conversions.integer(index, span, "an index")
            _check_bounds(index, axis, dimensions, span)
        if isinstance(index, Scalar) and index.taint is None:
            known += int(conversions.integer(index, span, "an index").value) * scale
            continue
        scaled = _scale(a, index_value(a, index, span), scale)
        unknown = scaled if unknown is None else a.binary(Opcode.ADD, t.U16, unknown, scaled)
    if isinstance(pointer, Pointer):
        fixed = Pointer(result, pointer.variable, pointer.offset + known, pointer.reach)
        if unknown is None:
            return fixed
        return Runtime(result, a.binary(Opcode.ADD, t.U16, a.instance.address(fixed), unknown))
    address = pointer.expression
    if unknown is not None:
        address = a.binary(Opcode.ADD, t.U16, address, unknown)
    if known:
        offset = ir.Immediate(ScalarType.U16, known & 0xFFFF)
        address = a.binary(Opcode.ADD, t.U16, address, offset)
    return Runtime(result, address)


def _check_bounds(index: Scalar, axis: int, dimensions: tuple[int, ...] | None, span: Span) -> None:
    if dimensions is None:
        return
    indices = range(dimensions[axis])
    if not conversions.decide(index, lambda n: n in indices, "index inside of the array", span):
        fail(
            "index-out-of-range",
            rules.outside(index.value, "the array", dimensions[axis]),
            span,
        )


def _scale(a: Analyzer, index: ir.Expression, scale: int) -> ir.Expression:
    if scale == 1:
        return index
    if scale and scale & (scale - 1) == 0:
        shift = ir.Immediate(ScalarType.U16, scale.bit_length() - 1)
        return a.binary(Opcode.SHL, t.U16, index, shift)
    return a.binary(Opcode.MUL, t.U16, index, ir.Immediate(ScalarType.U16, scale & 0xFFFF))


def load(a: Analyzer, pointer: Value, span: Span) -> Value:
    """Return `pointer.*`; an array or a struct is returned by its place, unread."""
    address = dereferenced(pointer, span)
    type_ = address.type
    assert isinstance(type_, t.PointerType)
    if isinstance(type_.pointee, t.StructType):
        if isinstance(address, Runtime):
            address = Runtime(type_, steady(a, address.expression, span))
        return struct_at(address, span)
    if (
        isinstance(address, Pointer)
        and address.variable.type == type_.pointee
        and not address.offset
    ):
        return a.load_variable(address.variable, span)
    if isinstance(type_.pointee, t.ArrayType):
        is_const = type_.is_const
        return Variable("array", type_.pointee, Undefined(), span, is_const=is_const, at=address)
    if a.comptime_depth:
        fail("not-comptime", "memory cannot be read at compile time", span)
    held = a.ir_type(type_.pointee, span)
    return Runtime(type_.pointee, ir.Load(held, a.expression(address, span)))


@evaluates(ast.Index)
def _load_element(a: Analyzer, node: ast.Index) -> Value:
    """Return `base[indices]`; known elements of known arrays are folded."""
    base, span = node.base, node.span
    container = operand(a, base)
    if not isinstance(container, Array | Struct):
        container = base_pointer(a, base, container)
    mark = order.here(a)
    indices = order.in_order(a, node.indices)
    container = order.before(a, mark, container, base.span)
    if a.comptime_depth:
        indices = [force_all(index, "index", span) for index in indices]
    known = all(isinstance(i, Scalar) and i.taint is None for i in indices)
    if isinstance(container, Array | Struct):
        if known:
            return rules.element(order.called(a, "part", container, span), indices, span)
        container = base_pointer(a, base, container)
    return load_at(a, container, indices, span)


def load_at(a: Analyzer, base: Value, indices: Sequence[Value], span: Span) -> Value:
    """Return an element of a pointer's target; known elements of constants are folded."""
    known = all(isinstance(i, Scalar) and i.taint is None for i in indices)
    pointer = element_pointer(a, base, indices, span)
    if known and isinstance(pointer, Pointer) and pointer.variable.is_const:
        value = known_part(pointer)
        if not isinstance(value, Undefined | Struct):
            return value
    return load(a, pointer, span)


def lvalue_of(a: Analyzer, node: ast.Expression) -> RuntimeLocal | Pointer | Runtime:
    """Return the target of an assignment, a register local or an address, or fail."""
    match node:
        case ast.Name(name=name, span=span):
            bound = a.names.find(name)
            if isinstance(bound, RuntimeLocal):
                if bound.is_const:
                    _constant(name, span)
                return bound
            is_lvalue = isinstance(bound, Variable) or (
                isinstance(bound, Struct) and bound.address is not None
            )
            if isinstance(bound, Range):
                fail(
                    "not-assignable",
                    f"the range `{name}` cannot be assigned to",
                    span,
                    help="declare another one, or keep its bounds in variables",
                )
            if bound is not None and not is_lvalue:
                _constant(name, span)
        case ast.Member(span=span) if _is_value(a, node):
            _constant(_spelling(node), span)
        case _:
            pass
    pointer = address_of(a, node)
    if isinstance(pointer, Pointer | Runtime) and isinstance(pointer.type, t.PointerType):
        if pointer.type.is_const:
            _constant(_spelling(node), node.span)
        return pointer
    _constant(_spelling(node), node.span)


def _is_value(a: Analyzer, node: ast.Expression) -> bool:
    """Tell whether an expression is a part of a local struct that is not in memory."""
    while isinstance(node, ast.Member):
        node = node.base
    match a.names.find(node.name) if isinstance(node, ast.Name) else None:
        case Struct(address=None):
            return True
        case _:
            return False


def _spelling(node: ast.Expression) -> str:
    return node.span.source.text[node.span.start : node.span.end]


def _constant(name: str, span: Span) -> NoReturn:
    fail(
        "not-assignable",
        f"`{name}` is constant",
        span,
        help="declare it with `var`, or copy it to one: `var copy = …;`",
    )
