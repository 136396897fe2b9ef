"""Expressions of run-time code: known operands are folded, others become IR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.ir import walk
from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.instance import narrow, packed_fields
from onewafer.csl.sema.instance.bound_names import RuntimeLocal
from onewafer.csl.sema.rules import constructors
from onewafer.csl.sema.rules.access import expand, split_access
from onewafer.csl.sema.rules.loop_steps import with_offset
from onewafer.csl.sema.runtime import order, stores, structs, wide
from onewafer.csl.sema.runtime.addresses import address_of, base_pointer, index_value, load
from onewafer.csl.sema.runtime.dispatch import (
    evaluate,
    evaluate_as,
    evaluate_comptime,
    evaluate_type,
    evaluates,
    evaluates_choice,
    operand,
)
from onewafer.csl.sema.runtime.temporaries import once
from onewafer.csl.sema.values import (
    FALSE,
    TRUE,
    VOID_VALUE,
    Runtime,
    Scalar,
    Struct,
    Text,
    Undefined,
    Value,
    Variable,
    conversions,
    force,
    operations,
    truth,
    type_of,
)
from onewafer.csl.sema.values.in_memory import address_of_variable, whole
from onewafer.csl.syntax import ast
from onewafer.geometry import Direction
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.rules.access import Term
    from onewafer.csl.sema.values import Number
    from onewafer.diagnostics import Span

_B = ast.BinaryOperator
_OPCODES: Final = {
    _B.ADD: Opcode.ADD,
    _B.SUBTRACT: Opcode.SUB,
    _B.MULTIPLY: Opcode.MUL,
    _B.DIVIDE: Opcode.DIV,
    _B.REMAINDER: Opcode.REM,
    _B.BIT_AND: Opcode.AND,
    _B.BIT_OR: Opcode.OR,
    _B.BIT_XOR: Opcode.XOR,
    _B.SHIFT_LEFT: Opcode.SHL,
    _B.SHIFT_RIGHT: Opcode.SHR,
    _B.EQUAL: Opcode.EQUAL,
    _B.NOT_EQUAL: Opcode.NOT_EQUAL,
    _B.LESS: Opcode.LESS,
    _B.LESS_EQUAL: Opcode.LESS_EQUAL,
    _B.GREATER: Opcode.LESS,
    _B.GREATER_EQUAL: Opcode.LESS_EQUAL,
}
_SWAPPED: Final = frozenset((_B.GREATER, _B.GREATER_EQUAL))
_LEAVING: Final = frozenset((_B.ADD, _B.SUBTRACT, _B.MULTIPLY, _B.DIVIDE, _B.SHIFT_LEFT))
"""Operators whose result can overflow a narrow integer type."""
_MOST_LISTED_BITS: Final = 8
"""Widest integers of which a `switch` without `else` may list all values."""


@evaluates(ast.IntegerLiteral)
def _integer(_: Analyzer, node: ast.IntegerLiteral) -> Value:
    return Scalar(t.COMPTIME_INT, node.value)


@evaluates(ast.FloatLiteral)
def _float(_: Analyzer, node: ast.FloatLiteral) -> Value:
    return Scalar(t.COMPTIME_FLOAT, node.value)


@evaluates(ast.StringLiteral)
def _string(_: Analyzer, node: ast.StringLiteral) -> Value:
    return Text(node.value)


@evaluates(ast.BoolLiteral)
def _bool(_: Analyzer, node: ast.BoolLiteral) -> Value:
    return TRUE if node.value else FALSE


@evaluates(ast.VoidLiteral)
def _void(_: Analyzer, __: ast.VoidLiteral) -> Value:
    return VOID_VALUE


@evaluates(ast.ErrorExpression)
def _error(_: Analyzer, __: ast.ErrorExpression) -> Value:
    raise Fault(None)


@evaluates(ast.ComptimeExpression)
def _comptime(a: Analyzer, node: ast.ComptimeExpression) -> Value:
    return evaluate_comptime(a, node.operand)


@evaluates(ast.Name)
def _name(a: Analyzer, node: ast.Name) -> Value:
    name, span = node.name, node.span
    bound = a.names.find(name)
    match bound:
        case None:
            return a.module.read(name, span)
        case RuntimeLocal(_, type_, local):
            if a.comptime_depth:
                fail(
                    "not-comptime",
                    f"`{name}` is not known at compile time",
                    span,
                    help="make it a `const` with a known value, or a `comptime` parameter",
                )
            return Runtime(type_, ir.ReadLocal(local), bound.descriptor)
        case _:
            return bound


@evaluates(ast.Member)
def _member(a: Analyzer, node: ast.Member) -> Value:
    base = order.called(a, "part", operand(a, node.base), node.span)
    return member(a, base, node.name, node.span)


def member(a: Analyzer, base: Value, name: str, span: Span) -> Value:
    """Return `base.name`."""
    match base:
        case Runtime(t.PackedType()) | Variable(type=t.PackedType()):
            return packed_fields.read(a.load(base, span), name, span)
        case Struct() if isinstance(base.get(name), Undefined) and not a.comptime_depth:
            return rules.member(structs.readable(a, "union", base, span), name, span)
        case _:
            return rules.member(base, name, span)


# --- operators -----------------------------------------------------------------------------------


@evaluates(ast.Dereference)
def _dereference(a: Analyzer, node: ast.Dereference) -> Value:
    return load(a, evaluate(a, node.base), node.span)


@evaluates(ast.Unary)
def _unary(a: Analyzer, node: ast.Unary) -> Value:
    operator, span = node.operator, node.span
    if operator is ast.UnaryOperator.ADDRESS_OF:
        return address_of(a, node.operand)
    value = evaluate(a, node.operand)
    if not isinstance(value, Runtime):
        return operations.unary(operator, value, span)
    type_ = operations.unary_type(operator, value, span)
    held = t.register_type(type_)
    assert held is not None
    opcode = Opcode.NEG if operator is ast.UnaryOperator.NEGATE else Opcode.NOT
    result = ir.Unary(opcode, held, a.expression(value, span))
    return Runtime(type_, narrow.wrapped(type_, result))


@evaluates(ast.Binary)
def _binary(a: Analyzer, node: ast.Binary) -> Value:
    if node.operator in (_B.AND, _B.OR):
        return _logical(a, node)
    left, right = order.in_order(a, (node.left, node.right))
    return binary_values(a, node.operator, left, right, node.span)


def binary_values(
    a: Analyzer, op: ast.BinaryOperator, left: Value, right: Value, span: Span
) -> Value:
    """Return `left op right`, folded if both are known."""
    if not isinstance(left, Runtime) and not isinstance(right, Runtime):
        return operations.binary(op, left, right, span)
    if op in operations.SHIFTS:
        type_ = operations.shift_type(op, left, right, span)
        first = a.sized(left, type_, span)
        second = wide.shift_count(a, right, span)
    else:
        type_ = operations.operand_type(op, left, right, span)
        operations.check_divisor(op, type_, right, span)
        first, second = a.sized(left, type_, span), a.sized(right, type_, span)
    if op in _SWAPPED:
        first, second = second, order.ahead(a, first, second, type_, span)
    operation = a.binary(_OPCODES[op], type_, first, second)
    computed = wide.binary(a, operation, span) if t.is_wide(type_) else operation
    if op in operations.COMPARISONS:
        return Runtime(t.BOOL, computed)
    return Runtime(type_, narrow.wrapped(type_, computed) if op in _LEAVING else computed)


def _logical(a: Analyzer, node: ast.Binary) -> Value:
    """Return `left and right` or `left or right`; the right side is skipped if the left decides."""
    decides = node.operator is _B.OR
    left = _condition(a, node.left)
    if not isinstance(left, Runtime):
        known = truth(left, node.left.span, str(node.operator))
        return (TRUE if decides else FALSE) if known is decides else _condition(a, node.right)
    a.open_block()
    try:
        value = _condition(a, node.right)
    finally:
        before = a.close_block()
    if before:
        known = ((), TRUE if decides else FALSE)
        branches = (known, (before, value)) if decides else ((before, value), known)
        return _choose(a, left.expression, *branches, node.span)
    right = a.expression(value, node.right.span)
    constant = ir.Immediate(ScalarType.BOOL, int(decides))
    then, otherwise = (constant, right) if decides else (right, constant)
    return Runtime(t.BOOL, ir.Select(ScalarType.BOOL, left.expression, then, otherwise))


def _condition(a: Analyzer, node: ast.Expression) -> Value:
    value = evaluate(a, node)
    if type_of(value) is not t.BOOL:
        fail(
            "type-mismatch",
            f"a condition is of type `bool`, this is of type `{type_of(value)}`",
            node.span,
            help="compare it with something: `x != 0`",
        )
    return value


def condition(a: Analyzer, node: ast.Expression) -> bool | ir.Expression:
    """Return a condition's truth value if it is known, else its IR."""
    value = evaluate(a, node)
    match value:
        case Runtime(t.BOOL):
            return value.expression
        case Runtime(type_):
            fail(
                "type-mismatch",
                f"a condition is of type `bool`, this is of type `{type_}`",
                node.span,
                help="compare it with something: `x != 0`",
            )
        case _:
            return truth(value, node.span, "if")


@evaluates(ast.StructLiteral)
def _struct(a: Analyzer, node: ast.StructLiteral) -> Value:
    constructors.check_distinct(node.fields)
    names = tuple(field.name for field in node.fields)
    return Struct(names, tuple(order.in_order(a, [field.value for field in node.fields])))


@evaluates(ast.TupleLiteral)
def _tuple(a: Analyzer, node: ast.TupleLiteral) -> Value:
    return Struct(None, tuple(order.in_order(a, node.elements)))


@evaluates(ast.TypedStruct)
def _typed_struct(a: Analyzer, node: ast.TypedStruct) -> Value:
    named = constructors.typed_struct(evaluate_type(a, node.type), node.span)
    return a.coerce(evaluate(a, node.literal), named, node.span)


@evaluates(ast.ArrayLiteral)
def _array_literal(a: Analyzer, node: ast.ArrayLiteral) -> Value:
    spans = [element.span for element in node.elements]
    values = order.in_order(a, node.elements)
    type_ = evaluate_type(a, node.type)
    return constructors.array_literal(type_, values, spans, node.span, coerce=a.coerce)


@evaluates_choice(ast.IfExpression)
def _if(a: Analyzer, node: ast.IfExpression, type_: t.Type | None) -> Value:
    test = condition(a, node.condition)
    if test is True:
        return evaluate_as(a, node.then, type_)
    if test is False and node.otherwise is not None:
        return evaluate_as(a, node.otherwise, type_)
    if node.otherwise is None or isinstance(test, bool):
        rules.missing_else(node.span)
    then, otherwise = _branch(a, node.then, type_), _branch(a, node.otherwise, type_)
    return _choose(a, test, then, otherwise, node.span)


_Branch = tuple[tuple[ir.Statement, ...], Value]
"""The statements and the value of one branch of a choice."""


def _branch(a: Analyzer, node: ast.Expression, type_: t.Type | None) -> _Branch:
    a.open_block()
    try:
        value = evaluate_as(a, node, type_)
    finally:
        statements = a.close_block()
    return statements, value if type_ is None else a.coerce(value, type_, node.span)


def _choose(
    a: Analyzer, test: ir.Expression, then: _Branch, otherwise: _Branch, span: Span
) -> Value:
    """Return the value of a choice; the statements of a branch run only if it is taken."""
    (first, then_value), (second, other_value) = then, otherwise
    type_ = _joined_type(then_value, other_value, span)
    if isinstance(type_, t.StructType | t.ArrayType) and t.can_vary(type_, a.half):
        return _choose_address(a, test, type_, (then, otherwise), span)
    if not first and not second:
        return select(a, test, then_value, other_value, span)
    local = a.new_local("choice", type_, is_const=False).local
    a.emit(
        ir.If(
            test,
            (*first, ir.SetLocal(local, a.sized(then_value, type_, span), span)),
            (*second, ir.SetLocal(local, a.sized(other_value, type_, span), span)),
            span,
        )
    )
    return Runtime(type_, ir.ReadLocal(local))


def _choose_address(
    a: Analyzer,
    test: ir.Expression,
    type_: t.StructType | t.ArrayType,
    branches: tuple[_Branch, _Branch],
    span: Span,
) -> Value:
    """Return a struct or array variable in which the branch that is taken stores its value."""
    variable = a.new_variable("choice", type_, span, is_const=False)
    address = address_of_variable(variable)

    def taken(branch: _Branch) -> tuple[ir.Statement, ...]:
        before, value = branch
        a.open_block()
        stores.store_value(a, address, type_, a.coerce(value, type_, span), span)
        return (*before, *a.close_block())

    first, second = branches
    a.emit(ir.If(test, taken(first), taken(second), span))
    return a.load(whole(variable, span), span)


def select(a: Analyzer, test: ir.Expression, then: Value, otherwise: Value, span: Span) -> Value:
    """Return a run-time choice between two values as a `Select`."""
    type_ = _joined_type(then, otherwise, span)
    first, second = a.sized(then, type_, span), a.sized(otherwise, type_, span)
    held: ir.ValueType = ir.DSD if type_ in t.DSDS else t.register_type(type_) or ScalarType.U16
    return Runtime(type_, ir.Select(held, test, first, second))


def _joined_type(then: Value, otherwise: Value, span: Span) -> t.Type:
    first, second = type_of(then), type_of(otherwise)
    if first in (t.COMPTIME_INT, t.COMPTIME_FLOAT):
        first, second = second, first
    if first in (t.COMPTIME_INT, t.COMPTIME_FLOAT):
        fail(
            "not-runtime",
            "the type of this run-time choice is not known",
            span,
            help="give one branch a sized type: `@as(i16, …)`",
        )
    if conversions.pointer_converts(first, second) or _is_named(second) > _is_named(first):
        return second
    return conversions.wider(first, second) or first


def _is_named(type_: t.Type) -> bool:
    return isinstance(type_, t.StructType) and type_.origin is not None


@evaluates_choice(ast.SwitchExpression)
def _switch(a: Analyzer, node: ast.SwitchExpression, type_: t.Type | None) -> Value:
    scrutinee = evaluate(a, node.scrutinee)
    rules.check_switched(scrutinee, node.scrutinee.span)
    if not isinstance(scrutinee, Runtime):
        arms = [arm.patterns for arm in node.arms]
        chosen = choose_arm(a, scrutinee, arms, node.scrutinee.span)
        if chosen is None:
            rules.no_arm(scrutinee, node.span)
        return evaluate_as(a, node.arms[chosen].value, type_)
    if walk.has_effect(scrutinee.expression):
        kept = once(a, "scrutinee", scrutinee.expression, scrutinee.type, node.span)
        scrutinee = Runtime(scrutinee.type, kept)
    if all(arm.patterns for arm in node.arms):
        _check_all_values(a, node, scrutinee.type)
    default = next((arm for arm in node.arms if not arm.patterns), node.arms[-1])
    result = _branch(a, default.value, type_)
    arms = [arm for arm in node.arms if arm is not default]
    tests = arm_tests(a, scrutinee, [arm.patterns for arm in node.arms])
    for arm, test in zip(reversed(arms), reversed(tests[: len(arms)]), strict=True):
        then = _branch(a, arm.value, type_)
        a.open_block()
        chosen = _choose(a, test, then, result, arm.span)
        result = (a.close_block(), chosen)
    for statement in result[0]:
        a.emit(statement)
    return result[1]


def _check_all_values(a: Analyzer, node: ast.SwitchExpression, type_: t.Type) -> None:
    """Fail if a `switch` without `else` lacks an arm for a value of the type."""
    patterns = [evaluate_comptime(a, one) for arm in node.arms for one in arm.patterns]
    given = {pattern.value for pattern in patterns if isinstance(pattern, Scalar)}
    match type_:
        case t.EnumType(_, members):
            missing = next((f"`{n}`" for n, number in members.items() if number not in given), None)
        case t.IntegerType(bits, _) if bits <= _MOST_LISTED_BITS:
            every = range(type_.minimum, type_.maximum + 1)
            missing = next((f"{n}" for n in every if n not in given), None)
        case t.BOOL | t.DIRECTION:
            num_values = 2 if type_ is t.BOOL else len(Direction)
            missing = f"the other values of `{type_}`" if len(given) < num_values else None
        case _:
            missing = f"the other values of `{type_}`"
    if missing is not None:
        rules.no_arm_for(missing, node.span)


def choose_arm(
    a: Analyzer, value: Value, arms: Sequence[Sequence[ast.Expression]], span: Span
) -> int | None:
    """Return the index of the arm that a known value takes (`else` last); None: none fits."""
    if isinstance(value, Scalar):
        value = Scalar(value.type, force(value, "switch", span))
    default = None
    for number, patterns in enumerate(arms):
        if not patterns:
            default = number
        for pattern in patterns:
            same = operations.binary(_B.EQUAL, value, evaluate(a, pattern), pattern.span)
            if truth(same, pattern.span):
                return number
    return default


def arm_tests(
    a: Analyzer, value: Runtime, arms: Sequence[Sequence[ast.Expression]]
) -> list[ir.Expression]:
    """Return, for each arm except `else`, the IR of the test whether `value` takes it."""
    taken: dict[Number, Span] = {}
    return [_is_one_of(a, value, patterns, taken) for patterns in arms if patterns]


def _is_one_of(
    a: Analyzer, value: Runtime, patterns: Sequence[ast.Expression], taken: dict[Number, Span]
) -> ir.Expression:
    """Return the IR of the test for an arm's patterns; `taken` has those of earlier arms."""
    tests: list[ir.Expression] = []
    for pattern in patterns:
        known = evaluate_comptime(a, pattern)
        same = binary_values(a, _B.EQUAL, value, known, pattern.span)
        tests.append(a.expression(same, pattern.span))
        if isinstance(known, Scalar) and known.taint is None:
            first = taken.setdefault(known.value, pattern.span)
            if first != pattern.span:
                a.instance.report(rules.taken_value(known, pattern.span, first))
    result = tests[-1]
    true = ir.Immediate(ScalarType.BOOL, 1)
    for test in reversed(tests[:-1]):
        result = ir.Select(ScalarType.BOOL, test, true, result)
    return result


# --- tensor accesses -----------------------------------------------------------------------------


@evaluates(ast.TensorAccess)
def _tensor_access(a: Analyzer, node: ast.TensorAccess) -> Struct:
    base_node, indices = split_access(node)
    extents = order.in_order(a, node.extents)
    base = base_pointer(a, base_node, operand(a, base_node))
    variables = [variable.name for variable in node.variables]
    known: list[list[tuple[Term, list[Value]]]] = []
    dynamic: Value | None = None
    pointer = type_of(base)
    dimensions = (
        rules.indexed(pointer, node.span)[1] if isinstance(pointer, t.PointerType) else None
    ) or (0,)
    for axis, index in enumerate(indices):
        terms: list[tuple[Term, list[Value]]] = []
        for term in expand(index, variables):
            factors = [evaluate(a, factor) for factor in term.factors]
            if not any(isinstance(f, Runtime) for f in factors):
                terms.append((term, factors))
                continue
            if term.variable is not None:
                fail(
                    "not-comptime",
                    "the stride of a tensor access has to be known at compile time",
                    index.span,
                    help="use `@set_dsd_stride`, or a loop",
                )
            scale = 1
            for size in dimensions[axis + 1 :]:
                scale *= size
            dynamic = _add_dynamic(a, dynamic, factors, term.sign * scale, index.span)
        known.append(terms)
    access = rules.tensor_access(base, extents, known, len(variables), node.span)
    if dynamic is None:
        return access
    known_offset = access.get("offset")
    assert known_offset is not None
    constant = conversions.coerce(known_offset, t.I16, node.span)
    return with_offset(access, binary_values(a, _B.ADD, dynamic, constant, node.span))


def _add_dynamic(
    a: Analyzer, total: Value | None, factors: Sequence[Value], scale: int, span: Span
) -> Value:
    """Return `total + scale · factors…` as a run-time i16."""
    product: Value = Scalar(t.I16, t.I16.wrap(scale))
    for factor in factors:
        converted = Runtime(t.I16, index_value(a, factor, span, ScalarType.I16))
        product = (
            converted
            if isinstance(product, Scalar) and product.value == 1
            else binary_values(a, _B.MULTIPLY, product, converted, span)
        )
    return product if total is None else binary_values(a, _B.ADD, total, product, span)
