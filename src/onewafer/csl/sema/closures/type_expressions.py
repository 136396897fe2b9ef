"""Type expressions as closures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.closures.dispatch import (
    compile_expression,
    compile_pointee,
    compile_type,
    compiles,
    compiles_pointee,
)
from onewafer.csl.sema.rules import constructors
from onewafer.csl.sema.values import TypeValue
from onewafer.csl.syntax import ast

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.csl.sema.closures.frame import Evaluate, Scope

    CompilePart = Callable[[ast.Expression, Scope], Evaluate]


@compiles(ast.StructType)
def _compile_struct_type(node: ast.StructType, scope: Scope) -> Evaluate:
    types = [compile_type(field.type, scope) for field in node.fields]
    spans = [field.type.span for field in node.fields]
    return lambda f: constructors.struct_type(node, [type_(f) for type_ in types], spans)


@compiles(ast.PointerType)
def _compile_pointer_type(node: ast.PointerType, scope: Scope) -> Evaluate:
    target = compile_pointee(node.pointee, scope)
    is_const, is_many, span = node.is_const, node.is_many, node.span
    return lambda f: TypeValue(t.PointerType(rules.expect_type(target(f), span), is_const, is_many))


@compiles(ast.ArrayType)
def _compile_array_type(node: ast.ArrayType, scope: Scope) -> Evaluate:
    return _array_of(node, scope, compile_type)


@compiles_pointee(ast.ArrayType)
def _compile_array_pointee(node: ast.ArrayType, scope: Scope) -> Evaluate:
    return _array_of(node, scope, compile_pointee)


def _array_of(node: ast.ArrayType, scope: Scope, compile_part: CompilePart) -> Evaluate:
    sizes = [compile_expression(d, scope) for d in node.dimensions]
    spans = [d.span for d in node.dimensions]
    base, span = compile_part(node.element, scope), node.element.span
    return lambda f: constructors.array_type([s(f) for s in sizes], spans, base(f), span)


@compiles(ast.FunctionType)
def _compile_function_type(node: ast.FunctionType, scope: Scope) -> Evaluate:
    return _function_of(node, scope, compile_type)


@compiles_pointee(ast.FunctionType)
def _compile_function_pointee(node: ast.FunctionType, scope: Scope) -> Evaluate:
    return _function_of(node, scope, compile_pointee)


def _function_of(node: ast.FunctionType, scope: Scope, compile_part: CompilePart) -> Evaluate:
    types = [compile_part(p, scope) for p in node.parameters]
    returns = compile_part(node.result, scope)
    is_task, span = node.is_task, node.span
    return lambda f: TypeValue(
        t.FunctionType(
            tuple(rules.expect_type(p(f), span) for p in types),
            rules.expect_type(returns(f), span),
            is_task,
        )
    )


@compiles(ast.EnumType)
def _compile_enum_type(node: ast.EnumType, scope: Scope) -> Evaluate:
    base = compile_type(node.base, scope)
    members, span = node.members, node.span
    values = [compile_expression(m.value, scope) if m.value is not None else None for m in members]
    return lambda f: constructors.enum_type(
        base(f), members, [v(f) if v is not None else None for v in values], span
    )


@compiles_pointee(ast.Name)
def _compile_name_pointee(node: ast.Name, scope: Scope) -> Evaluate:
    if scope.find(node.name) is not None:
        return compile_type(node, scope)
    name, span = node.name, node.span
    return lambda f: f.module.read_pointee(name, span)
