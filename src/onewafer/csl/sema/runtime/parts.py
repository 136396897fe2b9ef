"""Assignments to fields of packed values: the other bits of the word stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.runtime import expressions, order, packed_fields, statements, stores
from onewafer.csl.sema.runtime.addresses import load, lvalue_of
from onewafer.csl.sema.runtime.analyzer import Analyzer, RuntimeLocal
from onewafer.csl.sema.values import Pointer, Runtime, Scalar, Struct, Variable
from onewafer.csl.syntax import ast

if TYPE_CHECKING:
    from onewafer.csl.sema.runtime.packed_fields import Path


def target(a: Analyzer, node: ast.Expression) -> tuple[ast.Expression, Path] | None:
    """Return the packed value that is assigned to a part of, and the names of the fields in it."""
    names: list[str] = []
    while isinstance(node, ast.Member) and _is_packed(a, node.base):
        names.append(node.name)
        node = node.base
    return (node, tuple(reversed(names))) if names else None


def _is_packed(a: Analyzer, node: ast.Expression) -> bool:
    """Tell whether an expression has a packed type; code that the question emits is discarded."""
    a.open_block()
    try:
        value = expressions.operand(a, node)
    finally:
        a.close_block()
    match value:
        case Runtime(t.PackedType()) | Variable(type=t.PackedType()) | Scalar(t.PackedType()):
            return True
        case Struct(type=t.PackedType()):
            return True
        case _:
            return False


def assign(a: Analyzer, node: ast.Assign, whole: ast.Expression, path: Path) -> None:
    """Assign to the part at `path` of `whole`."""
    lvalue, span = lvalue_of(a, whole), node.target.span
    if not isinstance(lvalue, RuntimeLocal):
        lvalue = statements.evaluated_once(a, lvalue, node)
    type_ = lvalue.type.pointee if isinstance(lvalue.type, t.PointerType) else lvalue.type
    assert isinstance(type_, t.PackedType)
    a.ir_type(type_, span)  # refuses one that is too wide
    part, _ = packed_fields.part_of(type_, path, span)
    old = None
    if node.operator is not None:
        old = packed_fields.extract(type_, _word(a, lvalue, node), path, span)
    mark = order.here(a)
    value = statements.new_value(a, node, old, part)
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
    """Return what an lvalue holds now."""
    if isinstance(lvalue, RuntimeLocal):
        return ir.ReadLocal(lvalue.local)
    return a.expression(load(a, lvalue, node.target.span), node.target.span)
