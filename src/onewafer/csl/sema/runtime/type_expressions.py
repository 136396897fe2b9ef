"""Type expressions of run-time code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema import types as t
from onewafer.csl.sema.rules import constructors
from onewafer.csl.sema.runtime.dispatch import evaluate_comptime, evaluate_type, evaluates
from onewafer.csl.sema.values import TypeValue, Value
from onewafer.csl.syntax import ast

if TYPE_CHECKING:
    from onewafer.csl.sema.instance.analyzer import Analyzer


@evaluates(ast.StructType)
def _struct_type(a: Analyzer, node: ast.StructType) -> Value:
    types = [TypeValue(evaluate_type(a, field.type)) for field in node.fields]
    return constructors.struct_type(node, types, [field.type.span for field in node.fields])


@evaluates(ast.ArrayType)
def _array_type(a: Analyzer, node: ast.ArrayType) -> Value:
    sizes = [evaluate_comptime(a, d) for d in node.dimensions]
    spans = [d.span for d in node.dimensions]
    base = TypeValue(evaluate_type(a, node.element))
    return constructors.array_type(sizes, spans, base, node.element.span)


@evaluates(ast.PointerType)
def _pointer_type(a: Analyzer, node: ast.PointerType) -> Value:
    return TypeValue(t.PointerType(evaluate_type(a, node.pointee), node.is_const, node.is_many))


@evaluates(ast.FunctionType)
def _function_type(a: Analyzer, node: ast.FunctionType) -> Value:
    types = tuple(evaluate_type(a, p) for p in node.parameters)
    return TypeValue(t.FunctionType(types, evaluate_type(a, node.result), node.is_task))


@evaluates(ast.EnumType)
def _enum_type(a: Analyzer, node: ast.EnumType) -> Value:
    values = [evaluate_comptime(a, m.value) if m.value else None for m in node.members]
    base = TypeValue(evaluate_type(a, node.base))
    return constructors.enum_type(base, node.members, values, node.span)
