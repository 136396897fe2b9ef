"""Assignments: to locals, to memory, and to fields of packed values.

An assignment to a field of a packed value keeps the other bits of the word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.instance import packed_fields
from onewafer.csl.sema.instance.bound_names import RuntimeLocal
from onewafer.csl.sema.runtime import comptime_code, order, stores
from onewafer.csl.sema.runtime.addresses import load, lvalue_of
from onewafer.csl.sema.runtime.dispatch import analyzes, evaluate_as, operand
from onewafer.csl.sema.runtime.expressions import binary_values
from onewafer.csl.sema.runtime.temporaries import steady
from onewafer.csl.sema.values import Pointer, Runtime, Scalar, Struct, Value, Variable
from onewafer.csl.syntax import ast

if TYPE_CHECKING:
    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.packed_fields import Path

_SHIFTS: Final = (ast.BinaryOperator.SHIFT_LEFT, ast.BinaryOperator.SHIFT_RIGHT)


@analyzes(ast.Assign)
def _assign(a: Analyzer, node: ast.Assign) -> bool:
    match node.target:
        case ast.Name(name="_") if a.names.find("_") is None:
            order.discard(a, operand(a, node.value), node.span)
            return False
        case _:
            pass
    if comptime_code.is_change(a, node):
        comptime_code.run(a, (node,), node.span)
    elif (part := _packed_target(a, node.target)) is not None:
        _assign_part(a, node, *part)
    else:
        _assign_whole(a, node)
    return False


def _assign_whole(a: Analyzer, node: ast.Assign) -> None:
    lvalue = lvalue_of(a, node.target)
    if isinstance(lvalue, RuntimeLocal):
        value = _new_value(a, node, Runtime(lvalue.type, ir.ReadLocal(lvalue.local)), lvalue.type)
        a.emit(ir.SetLocal(lvalue.local, a.expression(value, node.value.span), node.span))
        return
    type_ = lvalue.type
    assert isinstance(type_, t.PointerType)
    old = None
    if node.operator is not None:
        lvalue = _evaluated_once(a, lvalue, node)
        old = load(a, lvalue, node.target.span)
    mark = order.here(a)
    value = _new_value(a, node, old, type_.pointee)
    value = order.apart(a, value, type_.pointee, node.value.span)
    lvalue = order.before(a, mark, lvalue, node.target.span)
    assert isinstance(lvalue, Pointer | Runtime)
    stores.store_value(a, lvalue, type_.pointee, value, node.span)


def _new_value(a: Analyzer, node: ast.Assign, old: Value | None, type_: t.Type) -> Value:
    """Return the value to store; `old` is the target's value, for a compound assignment."""
    mark = order.here(a)
    value = evaluate_as(a, node.value, None if node.operator in _SHIFTS else type_)
    if node.operator is not None and old is not None:
        old = order.before(a, mark, old, node.target.span)
        value = binary_values(a, node.operator, old, value, node.span)
    return a.coerce(value, type_, node.value.span)


def _evaluated_once(a: Analyzer, lvalue: Pointer | Runtime, node: ast.Assign) -> Pointer | Runtime:
    """Return the target of `p op= v` with its address computed once, if that has effects."""
    if isinstance(lvalue, Pointer):
        return lvalue
    return Runtime(lvalue.type, steady(a, lvalue.expression, node.span))


# --- fields of packed values ---------------------------------------------------------------------


def _packed_target(a: Analyzer, node: ast.Expression) -> tuple[ast.Expression, Path] | None:
    """Return the packed value of which a field is assigned to, and the path of the field."""
    names: list[str] = []
    while isinstance(node, ast.Member) and _is_packed(a, node.base):
        names.append(node.name)
        node = node.base
    return (node, tuple(reversed(names))) if names else None


def _is_packed(a: Analyzer, node: ast.Expression) -> bool:
    """Tell whether an expression has a packed type, discarding the code that it emits."""
    a.open_block()
    try:
        value = operand(a, node)
    finally:
        a.close_block()
    match value:
        case Runtime(t.PackedType()) | Variable(type=t.PackedType()) | Scalar(t.PackedType()):
            return True
        case Struct(type=t.PackedType()):
            return True
        case _:
            return False


def _assign_part(a: Analyzer, node: ast.Assign, whole: ast.Expression, path: Path) -> None:
    """Assign to the field at `path` of a packed value."""
    lvalue, span = lvalue_of(a, whole), node.target.span
    if not isinstance(lvalue, RuntimeLocal):
        lvalue = _evaluated_once(a, lvalue, node)
    type_ = lvalue.type.pointee if isinstance(lvalue.type, t.PointerType) else lvalue.type
    assert isinstance(type_, t.PackedType)
    a.ir_type(type_, span)  # refuses a type that is too wide
    part, _ = packed_fields.part_of(type_, path, span)
    old = None
    if node.operator is not None:
        old = packed_fields.extract(type_, _word(a, lvalue, node), path, span)
    mark = order.here(a)
    value = _new_value(a, node, old, part)
    value = order.called(a, "field", value, node.value.span)
    if not isinstance(lvalue, RuntimeLocal):
        moved = order.before(a, mark, lvalue, span)
        assert isinstance(moved, Pointer | Runtime)
        lvalue = moved
    field = a.expression(value, node.value.span)
    changed = packed_fields.insert(type_, _word(a, lvalue, node), path, field, span)
    if isinstance(lvalue, RuntimeLocal):
        a.emit(ir.SetLocal(lvalue.local, changed, node.span))
    else:
        stores.store_value(a, lvalue, type_, Runtime(type_, changed), node.span)


def _word(a: Analyzer, lvalue: RuntimeLocal | Pointer | Runtime, node: ast.Assign) -> ir.Expression:
    """Return the current value of a target as IR."""
    if isinstance(lvalue, RuntimeLocal):
        return ir.ReadLocal(lvalue.local)
    return a.expression(load(a, lvalue, node.target.span), node.target.span)
