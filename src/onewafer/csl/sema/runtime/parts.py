"""Assignments to fields of packed values: the other bits of the word stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.runtime import expressions, order, packed_fields, statements, stores
from onewafer.csl.sema.runtime.addresses import load, place_of
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
    """Tell of what type an expression is; what it would emit is thrown away."""
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
    place, span = place_of(a, whole), node.target.span
    if not isinstance(place, RuntimeLocal):
        place = statements.evaluated_once(a, place, node)
    type_ = place.type.pointee if isinstance(place.type, t.PointerType) else place.type
    assert isinstance(type_, t.PackedType)
    a.ir_type(type_, span)  # refuses one that is too wide
    part, _ = packed_fields.part_of(type_, path, span)
    old = None
    if node.operator is not None:
        old = packed_fields.extract(type_, _word(a, place, node), path, span)
    mark = order.here(a)
    value = statements.new_value(a, node, old, part)
    value = order.called(a, "field", value, node.value.span)
    if not isinstance(place, RuntimeLocal):
        moved = order.before(a, mark, place, span)
        assert isinstance(moved, Pointer | Runtime)
        place = moved
    field = a.expression(value, node.value.span)
    changed = packed_fields.insert(type_, _word(a, place, node), path, field, span)
    if isinstance(place, RuntimeLocal):
        a.emit(ir.SetLocal(place.local, changed, node.span))
    else:
        stores.store_value(a, place, type_, Runtime(type_, changed), node.span)


def _word(a: Analyzer, place: RuntimeLocal | Pointer | Runtime, node: ast.Assign) -> ir.Expression:
    """Return what a place holds now."""
    if isinstance(place, RuntimeLocal):
        return ir.ReadLocal(place.local)
    return a.expression(load(a, place, node.target.span), node.target.span)
