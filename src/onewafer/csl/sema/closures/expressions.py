"""Expressions as closures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.closures.dispatch import compile_expression, compile_type, compiles
from onewafer.csl.sema.closures.frame import Scope, read_poison
from onewafer.csl.sema.faults import Fault
from onewafer.csl.sema.rules import constructors
from onewafer.csl.sema.rules.access import expand, split_access
from onewafer.csl.sema.values import (
    FALSE,
    TRUE,
    VOID_VALUE,
    Array,
    Pointer,
    Scalar,
    Struct,
    Text,
    TypeValue,
    Undefined,
    Value,
    Variable,
    conversions,
    force,
    not_comptime,
    operations,
    truth,
    type_of,
)
from onewafer.csl.sema.values.in_memory import address_of_variable
from onewafer.csl.syntax import ast

if TYPE_CHECKING:
    from onewafer.csl.sema.closures.frame import Evaluate, Frame
    from onewafer.diagnostics import Span


@compiles(ast.IntegerLiteral)
def _integer(node: ast.IntegerLiteral, _: Scope) -> Evaluate:
    return _constant(Scalar(t.COMPTIME_INT, node.value))


@compiles(ast.FloatLiteral)
def _float(node: ast.FloatLiteral, _: Scope) -> Evaluate:
    return _constant(Scalar(t.COMPTIME_FLOAT, node.value))


@compiles(ast.StringLiteral)
def _string(node: ast.StringLiteral, _: Scope) -> Evaluate:
    return _constant(Text(node.value))


@compiles(ast.BoolLiteral)
def _bool(node: ast.BoolLiteral, _: Scope) -> Evaluate:
    return _constant(TRUE if node.value else FALSE)


@compiles(ast.VoidLiteral)
def _void(_: ast.VoidLiteral, __: Scope) -> Evaluate:
    return _constant(VOID_VALUE)


def _constant(value: Value) -> Evaluate:
    return lambda _: value


@compiles(ast.ErrorExpression)
def _compile_error(_: ast.ErrorExpression, __: Scope) -> Evaluate:
    return _reported


def _reported(_: Frame) -> Value:
    raise Fault(None)


@compiles(ast.ComptimeExpression)
def _compile_comptime(node: ast.ComptimeExpression, scope: Scope) -> Evaluate:
    return compile_expression(node.operand, scope)


# --- names and lvalues ----------------------------------------------------------------------------


@compiles(ast.Name)
def _compile_name(node: ast.Name, scope: Scope) -> Evaluate:
    slot = scope.find(node.name)
    if slot is None:
        return _compile_global(node)
    index, is_const = slot.index, slot.is_const

    def read(frame: Frame) -> Value:
        value = frame.slots[index]
        if value is None:
            read_poison()
        return value.copy() if type(value) is Array and not is_const else value

    return read


def _compile_global(node: ast.Name) -> Evaluate:
    name, span = node.name, node.span

    def read(frame: Frame) -> Value:
        value = frame.module.read(name, span)
        if type(value) is Variable:
            not_comptime(value, span)
        return value

    return read


def compile_operand(node: ast.Expression, scope: Scope, *, is_lvalue: bool = False) -> Evaluate:
    """Return a closure like `compile_expression`'s that gives a run-time variable as itself.

    For an lvalue, only the address is taken.
    """
    match node:
        case ast.Name(name=name, span=span) if scope.find(name) is None:
            if is_lvalue:
                return lambda f: f.module.read_lvalue(name, span)
            return lambda f: f.module.read(name, span)
        case ast.Member(base=base, name=name, span=span):
            evaluate = compile_operand(base, scope, is_lvalue=is_lvalue)
            return lambda f: rules.member(evaluate(f), name, span)
        case ast.Dereference(base=base, span=span):
            pointer = compile_expression(base, scope)
            return lambda f: rules.pointed_at(pointer(f), span)
        case ast.Index():
            return _compile_index_operand(node, scope, is_lvalue=is_lvalue)
        case ast.Name(name=name):
            slot = scope.find(name)
            assert slot is not None
            index = slot.index

            def read(frame: Frame) -> Value:
                value = frame.slots[index]
                if value is None:
                    read_poison()
                return value

            return read
        case _:
            return compile_expression(node, scope)


def compile_address(node: ast.Expression, scope: Scope) -> Evaluate:
    """Return a closure that gives the `Pointer` to an lvalue, or a function as itself."""
    match node:
        case ast.Name(name=name, span=span):
            if scope.find(name) is not None:
                return lambda _: rules.no_comptime_address(name, span)
            return lambda f: rules.address_of_global(f.module, name, span)
        case ast.Member(base=base, name=name, span=span):
            return _compile_member_address(base, name, span, scope)
        case ast.Dereference(base=base, span=span):
            evaluate = compile_expression(base, scope)
            return lambda f: rules.dereferenced(evaluate(f), span)
        case ast.Index(base=base, indices=indices, span=span):
            pointer = compile_base(base, scope)
            values = [compile_expression(index, scope) for index in indices]
            return lambda f: rules.element_pointer(pointer(f), [v(f) for v in values], span)
        case _:
            span = node.span
            return lambda _: rules.no_address(span)


def _compile_member_address(base: ast.Expression, name: str, span: Span, scope: Scope) -> Evaluate:
    container = compile_operand(base, scope, is_lvalue=True)
    whole = compile_address(base, scope)

    def address(frame: Frame) -> Value:
        value = container(frame)
        is_packed = isinstance(type_of(value), t.PackedType)
        if type(value) is Struct and value.address is None and not is_packed:
            # A known struct, which gets an address.
            value = rules.pointed_at(whole(frame), span)
        return rules.address_of_member(value, name, span)

    return address


def _compile_index_operand(node: ast.Index, scope: Scope, *, is_lvalue: bool) -> Evaluate:
    container = compile_operand(node.base, scope, is_lvalue=is_lvalue)
    indices = [compile_expression(index, scope) for index in node.indices]
    span = node.span

    def read(frame: Frame) -> Value:
        base = container(frame)
        values = [index(frame) for index in indices]
        if type(base) is Variable and isinstance(base.type, t.ArrayType):
            pointer = rules.element_pointer(address_of_variable(base), values, span)
            return rules.pointed_at(pointer, span)
        return rules.element(base, values, span)

    return read


def compile_base(node: ast.Expression, scope: Scope) -> Evaluate:
    """Return a closure for the pointer that an index applies to."""
    match node:
        case ast.Name(name=name, span=span) if scope.find(name) is None:

            def read(frame: Frame) -> Value:
                value = frame.module.read_lvalue(name, span)
                if type(value) is Pointer:
                    return value
                return rules.address_of_global(frame.module, name, span)

            return read
        case ast.Member(base=base, name=name, span=span):
            evaluate = compile_operand(base, scope, is_lvalue=True)
            address = _compile_member_address(base, name, span, scope)

            def base_of_member(frame: Frame) -> Value:
                value = rules.member(evaluate(frame), name, span)
                return value if isinstance(value, Pointer) else address(frame)

            return base_of_member
        case ast.Name():
            return compile_expression(node, scope)
        case _:
            return compile_address(node, scope)


@compiles(ast.Member)
def _compile_member(node: ast.Member, scope: Scope) -> Evaluate:
    evaluate = compile_expression(node.base, scope)
    name, span = node.name, node.span

    def read(frame: Frame) -> Value:
        base = evaluate(frame)
        if type(base) is Struct and base.names is not None and name in base.names:
            field = base.fields[base.names.index(name)]
            if type(field) is Variable:
                not_comptime(field, span)
            if type(field) is not Undefined:
                return field
        value = rules.member(base, name, span)
        if type(value) is Variable:
            not_comptime(value, span)
        return value

    return read


@compiles(ast.Index)
def _compile_index(node: ast.Index, scope: Scope) -> Evaluate:
    base = compile_operand(node.base, scope)
    indices = [compile_expression(index, scope) for index in node.indices]
    span = node.span

    def read(frame: Frame) -> Value:
        container = base(frame)
        if type(container) is Variable:
            not_comptime(container, span)
        return rules.element(container, [index(frame) for index in indices], span)

    return read


@compiles(ast.Dereference)
def _compile_dereference(node: ast.Dereference, scope: Scope) -> Evaluate:
    pointer, span = compile_expression(node.base, scope), node.span
    return lambda f: rules.known_at(pointer(f), span)


# --- operators -----------------------------------------------------------------------------------


@compiles(ast.Unary)
def _compile_unary(node: ast.Unary, scope: Scope) -> Evaluate:
    operator, span = node.operator, node.span
    if operator is ast.UnaryOperator.ADDRESS_OF:
        return compile_address(node.operand, scope)
    evaluate = compile_expression(node.operand, scope)
    return lambda f: operations.unary(operator, evaluate(f), span)


@compiles(ast.Binary)
def _compile_binary(node: ast.Binary, scope: Scope) -> Evaluate:
    left, right = compile_expression(node.left, scope), compile_expression(node.right, scope)
    operator, span = node.operator, node.span
    left_span, right_span = node.left.span, node.right.span
    match operator:
        case ast.BinaryOperator.AND:
            return lambda f: _checked(right(f), right_span) if truth(left(f), left_span) else FALSE
        case ast.BinaryOperator.OR:
            return lambda f: TRUE if truth(left(f), left_span) else _checked(right(f), right_span)
        case _:
            binary = operations.binary
            return lambda f: binary(operator, left(f), right(f), span)


def _checked(value: Value, span: Span) -> Value:
    if type(value) is Scalar and value.type is t.BOOL:
        return value
    return TRUE if truth(value, span) else FALSE


@compiles(ast.IfExpression)
def _compile_if(node: ast.IfExpression, scope: Scope) -> Evaluate:
    condition, then = (
        compile_expression(node.condition, scope),
        compile_expression(node.then, scope),
    )
    span = node.condition.span
    if node.otherwise is None:
        whole = node.span

        def no_else(frame: Frame) -> Value:
            if truth(condition(frame), span, "if"):
                return then(frame)
            rules.missing_else(whole)

        return no_else
    otherwise = compile_expression(node.otherwise, scope)
    return lambda f: then(f) if truth(condition(f), span, "if") else otherwise(f)


@compiles(ast.SwitchExpression)
def _compile_switch(node: ast.SwitchExpression, scope: Scope) -> Evaluate:
    scrutinee = compile_expression(node.scrutinee, scope)
    arms = [
        ([compile_expression(p, scope) for p in arm.patterns], compile_expression(arm.value, scope))
        for arm in node.arms
    ]
    spans = [[p.span for p in arm.patterns] for arm in node.arms]
    span = node.span

    def evaluate(frame: Frame) -> Value:
        value = scrutinee(frame)
        rules.check_switched(value, node.scrutinee.span)
        patterns = [patterns for patterns, _ in arms]
        chosen = select_arm(frame, value, patterns, spans, scrutinee=node.scrutinee.span)
        if chosen is None:
            rules.no_arm(value, span)
        return arms[chosen][1](frame)

    return evaluate


def select_arm(
    frame: Frame,
    value: Value,
    arms: list[list[Evaluate]],
    spans: list[list[Span]],
    *,
    scrutinee: Span,
) -> int | None:
    """Return the number of the arm that `value` takes (`else` last); None: none fits."""
    if isinstance(value, Scalar):
        value = Scalar(value.type, force(value, "switch", scrutinee))
    default = None
    for number, patterns in enumerate(arms):
        if not patterns:
            default = number
        for pattern, span in zip(patterns, spans[number], strict=True):
            same = operations.binary(ast.BinaryOperator.EQUAL, value, pattern(frame), span)
            if truth(same, span):
                return number
    return default


@compiles(ast.TypedStruct)
def _compile_typed_struct(node: ast.TypedStruct, scope: Scope) -> Evaluate:
    type_, literal = compile_type(node.type, scope), compile_expression(node.literal, scope)

    def evaluate(frame: Frame) -> Value:
        named = rules.expect_type(type_(frame), node.type.span)
        return conversions.coerce(
            literal(frame), constructors.typed_struct(named, node.span), node.span
        )

    return evaluate


# --- structs and arrays --------------------------------------------------------------------------


@compiles(ast.StructLiteral)
def _compile_struct(node: ast.StructLiteral, scope: Scope) -> Evaluate:
    names = tuple(field.name for field in node.fields)
    constructors.check_distinct(node.fields)
    values = [compile_expression(field.value, scope) for field in node.fields]
    return lambda f: Struct(names, tuple([value(f) for value in values]))


@compiles(ast.TupleLiteral)
def _compile_tuple(node: ast.TupleLiteral, scope: Scope) -> Evaluate:
    values = [compile_expression(element, scope) for element in node.elements]
    return lambda f: Struct(None, tuple([value(f) for value in values]))


@compiles(ast.ArrayLiteral)
def _compile_array(node: ast.ArrayLiteral, scope: Scope) -> Evaluate:
    type_ = compile_type(node.type, scope)
    elements = [compile_expression(element, scope) for element in node.elements]
    spans = [element.span for element in node.elements]
    span = node.span

    def evaluate(frame: Frame) -> Value:
        array = type_(frame)
        assert isinstance(array, TypeValue)
        return constructors.array_literal(array.type, [e(frame) for e in elements], spans, span)

    return evaluate


@compiles(ast.TensorAccess)
def _compile_tensor_access(node: ast.TensorAccess, scope: Scope) -> Evaluate:
    base_node, indices = split_access(node)
    base = compile_base(base_node, scope)
    extents = [compile_expression(extent, scope) for extent in node.extents]
    variables = [variable.name for variable in node.variables]
    terms = [
        [
            (term, [compile_expression(f, scope) for f in term.factors])
            for term in expand(i, variables)
        ]
        for i in indices
    ]
    count, span = len(variables), node.span

    def evaluate(frame: Frame) -> Struct:
        evaluated = [
            [(term, [factor(frame) for factor in factors]) for term, factors in index]
            for index in terms
        ]
        return rules.tensor_access(base(frame), [e(frame) for e in extents], evaluated, count, span)

    return evaluate
