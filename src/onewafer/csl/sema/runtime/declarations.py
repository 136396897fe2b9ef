"""Variables and constants that a function declares: known, in registers, or in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.runtime import comptime_code, order, stores, structs
from onewafer.csl.sema.runtime.dispatch import (
    analyzes,
    evaluate_as,
    evaluate_comptime,
    evaluate_type,
)
from onewafer.csl.sema.values import (
    Array,
    Dsd,
    FunctionValue,
    Range,
    Runtime,
    Struct,
    Undefined,
    Value,
    Variable,
    conversions,
    halves,
    is_comptime,
    type_of,
)
from onewafer.csl.sema.values.in_memory import address_of_variable
from onewafer.csl.syntax import ast

if TYPE_CHECKING:
    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.diagnostics import Span


@analyzes(ast.Variable)
def _variable(a: Analyzer, node: ast.Variable) -> bool:
    rules.check_unlinked(node)
    if node.is_comptime:
        comptime_code.declare(a, node)
    else:
        _runtime_variable(a, node)
    return False


def _runtime_variable(a: Analyzer, node: ast.Variable) -> None:
    type_ = evaluate_type(a, node.type) if node.type is not None else None
    value: Value = Undefined()
    if node.initializer is not None:
        value = evaluate_as(a, node.initializer, type_)
    elif type_ is None or node.is_const:
        fail("type-mismatch", f"`{node.name}` needs a type and, if constant, a value", node.span)
    span = node.initializer.span if node.initializer is not None else node.name_span
    if type_ is not None and not isinstance(value, Undefined):
        value = a.coerce(value, type_, span, f"the value of `{node.name}`")
    is_binding = node.is_const or isinstance(value, Range)
    if is_binding and _stays_known(value) and not _has_address(a, node, value):
        a.names.declare(node.name, order.settled(a, node.name, value, span), node.name_span)
        return
    if type_ is None and isinstance(value, FunctionValue):
        value = conversions.function_address(value, span)
    type_ = type_ if type_ is not None else type_of(value)
    halves.refuse_other(type_, a.half, node.name_span)
    if isinstance(type_, t.StructType) and t.can_vary(type_, a.half):
        _struct_variable(a, node, type_, value, span)
        return
    if t.is_comptime_only(type_, a.half) or type_ is t.VOID:
        fail(
            "not-runtime",
            f"a variable cannot be of type `{type_}`, which does not exist at run time",
            node.name_span,
            help=rules.how_to_vary(type_),
        )
    is_placed = node.name in a.addressed or node.alignment is not None
    if isinstance(type_, t.ArrayType) or is_placed:
        _memory_variable(a, node, type_, value)
    else:
        _register_variable(a, node, type_, value)


def _has_address(a: Analyzer, node: ast.Variable, value: Value) -> bool:
    """Tell whether a constant run-time struct has to lie in memory."""
    if (
        not isinstance(value, Struct)
        or is_comptime(value)
        or not t.can_vary(type_of(value), a.half)
    ):
        return False
    return node.name in a.addressed or structs.is_overlaid(value)


def _struct_variable(
    a: Analyzer, node: ast.Variable, type_: t.StructType, value: Value, span: Span
) -> None:
    whole = structs.declare_struct(
        a, node.name, type_, value, span, is_const=node.is_const, alignment=_alignment(a, node)
    )
    a.names.declare(node.name, whole, node.name_span)


def _alignment(a: Analyzer, node: ast.Variable) -> int | None:
    if node.alignment is None:
        return None
    return rules.alignment(evaluate_comptime(a, node.alignment), node.alignment.span)


def _stays_known(value: Value) -> bool:
    match value:
        case Runtime() | Variable():
            return False
        case Array(_, elements):
            return all(map(is_comptime, elements))
        case _:
            return True


def _register_variable(a: Analyzer, node: ast.Variable, type_: t.Type, value: Value) -> None:
    descriptor = None
    match value:
        case Dsd(_, descriptor) | Runtime(_, _, descriptor):
            pass
        case _:
            pass
    a.ir_type(type_, node.name_span)
    bound = a.new_local(node.name, type_, is_const=node.is_const, descriptor=descriptor)
    if isinstance(value, Undefined):
        if type_ in t.DSDS or isinstance(type_, t.PointerType):
            a.names.declare(node.name, bound, node.name_span)
            return
        value = conversions.zero(type_, node.name_span)
    a.emit(ir.SetLocal(bound.local, a.expression(value, node.span), node.span))
    a.names.declare(node.name, bound, node.name_span)


def _memory_variable(a: Analyzer, node: ast.Variable, type_: t.Type, value: Value) -> None:
    stores.check_stored(a, t.element(type_), node.name_span)
    variable = a.new_variable(
        node.name, type_, node.name_span, is_const=node.is_const, alignment=_alignment(a, node)
    )
    if not isinstance(value, Undefined):
        stores.store_value(a, address_of_variable(variable), type_, value, node.span)
    a.names.declare(node.name, variable, node.name_span)
