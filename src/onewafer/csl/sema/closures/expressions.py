"""Expressions as closures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema import constructors, conversions, operations, rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.access import expand, split_access
from onewafer.csl.sema.closures import calls
from onewafer.csl.sema.closures.frame import Scope, read_poison
from onewafer.csl.sema.faults import Fault
from onewafer.csl.sema.in_memory import address_of_variable
from onewafer.csl.sema.values import (
    FALSE,
    TRUE,
    VOID_VALUE,
    Array,
    FunctionValue,
    ModuleValue,
    Pointer,
    Scalar,
    Struct,
    Text,
    TypeValue,
    Undefined,
    Value,
    Variable,
    force,
    not_comptime,
    truth,
    type_of,
)
from onewafer.csl.syntax import ast

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.csl.sema.closures.frame import Evaluate, Frame
    from onewafer.diagnostics import Span


def compile_expression(node: ast.Expression, scope: Scope) -> Evaluate:
    """Return a closure that evaluates `node`; a run-time variable as value is a fault."""
    match node:
        case ast.IntegerLiteral(value=number):
            return _constant(Scalar(t.COMPTIME_INT, number))
        case ast.FloatLiteral(value=number):
            return _constant(Scalar(t.COMPTIME_FLOAT, number))
        case ast.StringLiteral(value=text):
            return _constant(Text(text))
        case ast.BoolLiteral(value=flag):
            return _constant(TRUE if flag else FALSE)
        case ast.VoidLiteral():
            return _constant(VOID_VALUE)
        case ast.Name():
            return _compile_name(node, scope)
        case ast.Unary(operator=ast.UnaryOperator.ADDRESS_OF, operand=operand):
            return compile_address(operand, scope)
        case ast.Unary(operator=operator, operand=operand, span=span):
            evaluate = compile_expression(operand, scope)
            return lambda f: operations.unary(operator, evaluate(f), span)
        case ast.Binary():
            return _compile_binary(node, scope)
        case ast.Call():
            return calls.compile_call(node, scope)
        case ast.BuiltinCall():
            return calls.compile_builtin(node, scope)
        case ast.Member():
            return _compile_member(node, scope)
        case ast.Dereference(base=base, span=span):
            pointer = compile_expression(base, scope)
            return lambda f: rules.known_at(pointer(f), span)
        case ast.Index():
            return _compile_index(node, scope)
        case ast.IfExpression():
            return _compile_if(node, scope)
        case ast.SwitchExpression():
            return _compile_switch(node, scope)
        case ast.BlockExpression():
            return calls.compile_block_expression(node, scope)
        case ast.StructLiteral(fields=fields):
            names = tuple(field.name for field in fields)
            constructors.check_distinct(fields)
            values = [compile_expression(field.value, scope) for field in fields]
            return lambda f: Struct(names, tuple([value(f) for value in values]))
        case ast.TupleLiteral(elements=elements):
            values = [compile_expression(element, scope) for element in elements]
            return lambda f: Struct(None, tuple([value(f) for value in values]))
        case ast.TypedStruct():
            return _compile_typed_struct(node, scope)
        case ast.ArrayLiteral():
            return _compile_array(node, scope)
        case ast.StructType():
            return _compile_struct_type(node, scope)
        case ast.ArrayType() | ast.PointerType() | ast.FunctionType() | ast.EnumType():
            return _compile_type_expression(node, scope)
        case ast.TensorAccess():
            return _compile_tensor_access(node, scope)
        case ast.ComptimeExpression(operand=operand):
            return compile_expression(operand, scope)
        case ast.ErrorExpression():
            return _reported


def _constant(value: Value) -> Evaluate:
    return lambda _: value


def _reported(_: Frame) -> Value:
    raise Fault(None)


def compile_type(node: ast.Expression, scope: Scope) -> Evaluate:
    """Return a closure that evaluates `node` to a `TypeValue`."""
    evaluate = compile_expression(node, scope)
    span = node.span

    def check(frame: Frame) -> Value:
        value = evaluate(frame)
        if type(value) is not TypeValue:
            rules.expect_type(value, span)
        return value

    return check


# --- names and lvalues ----------------------------------------------------------------------------


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


# --- operators -----------------------------------------------------------------------------------


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


def _compile_struct_type(node: ast.StructType, scope: Scope) -> Evaluate:
    types = [compile_type(field.type, scope) for field in node.fields]
    spans = [field.type.span for field in node.fields]
    return lambda f: constructors.struct_type(node, [type_(f) for type_ in types], spans)


def _compile_typed_struct(node: ast.TypedStruct, scope: Scope) -> Evaluate:
    type_, literal = compile_type(node.type, scope), compile_expression(node.literal, scope)

    def evaluate(frame: Frame) -> Value:
        named = rules.expect_type(type_(frame), node.type.span)
        return conversions.coerce(
            literal(frame), constructors.typed_struct(named, node.span), node.span
        )

    return evaluate


# --- arrays and types ----------------------------------------------------------------------------


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


def _compile_pointee(node: ast.Expression, scope: Scope) -> Evaluate:
    """Return a closure for the type that a pointer leads to, which may be in the making."""
    match node:
        case ast.Name(name=name, span=span) if scope.find(name) is None:
            return lambda f: f.module.read_pointee(name, span)
        case ast.Call():
            return calls.compile_pointee(node, scope)
        case ast.ArrayType() | ast.FunctionType():
            return _compile_type_expression(node, scope, _compile_pointee)
        case _:
            return compile_type(node, scope)


def _compile_type_expression(
    node: ast.ArrayType | ast.PointerType | ast.FunctionType | ast.EnumType,
    scope: Scope,
    compile_part: Callable[[ast.Expression, Scope], Evaluate] = compile_type,
) -> Evaluate:
    match node:
        case ast.ArrayType(dimensions=dimensions, element=element):
            sizes = [compile_expression(d, scope) for d in dimensions]
            spans = [d.span for d in dimensions]
            base = compile_part(element, scope)
            span = element.span
            return lambda f: constructors.array_type([s(f) for s in sizes], spans, base(f), span)
        case ast.PointerType(pointee=pointee, is_const=is_const, is_many=is_many):
            target = _compile_pointee(pointee, scope)
            return lambda f: TypeValue(
                t.PointerType(rules.expect_type(target(f), node.span), is_const, is_many)
            )
        case ast.FunctionType(parameters=parameters, result=result, is_task=is_task):
            types = [compile_part(p, scope) for p in parameters]
            returns = compile_part(result, scope)
            return lambda f: TypeValue(
                t.FunctionType(
                    tuple(rules.expect_type(p(f), node.span) for p in types),
                    rules.expect_type(returns(f), node.span),
                    is_task,
                )
            )
        case ast.EnumType(base=base_node, members=members):
            base = compile_type(base_node, scope)
            values = [
                compile_expression(m.value, scope) if m.value is not None else None for m in members
            ]
            return lambda f: constructors.enum_type(
                base(f), members, [v(f) if v is not None else None for v in values], node.span
            )


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


__all__ = [
    "FunctionValue",
    "ModuleValue",
    "Undefined",
    "compile_address",
    "compile_expression",
    "compile_operand",
    "compile_type",
    "select_arm",
    "type_of",
]
