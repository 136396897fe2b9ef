"""Statements of run-time code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.sema import conversions, halves, rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.in_memory import address_of_variable
from onewafer.csl.sema.runtime import (
    blocks,
    comptime_code,
    order,
    parts,
    ranges,
    stores,
    structs,
    unrolled,
)
from onewafer.csl.sema.runtime.addresses import base_pointer, load, lvalue_of
from onewafer.csl.sema.runtime.analyzer import Analyzer, JumpTarget, RuntimeLocal
from onewafer.csl.sema.runtime.expressions import (
    arm_tests,
    binary_values,
    choose_arm,
    condition,
    evaluate,
    evaluate_as,
    evaluate_comptime,
    evaluate_type,
    operand,
)
from onewafer.csl.sema.values import (
    Array,
    Dsd,
    FunctionValue,
    Pointer,
    Range,
    Runtime,
    Struct,
    Undefined,
    Value,
    Variable,
    Void,
    is_comptime,
    type_of,
)
from onewafer.csl.syntax import ast, tree
from onewafer.diagnostics import Annotation, Diagnostic, Severity
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.diagnostics import Span


_ASSERTION: Final = "comptime-assert"
_SHIFTS: Final = (ast.BinaryOperator.SHIFT_LEFT, ast.BinaryOperator.SHIFT_RIGHT)


def analyze_block(a: Analyzer, statements: Sequence[ast.Statement]) -> bool:
    """Analyse statements in order; a mistake in one does not stop the others.

    After a failed assertion, only further assertions are reported, since the remaining statements
    need not hold. Statements after an `if` or `switch` that is known to leave are not analysed, so
    that functions whose comptime arguments count down come to an end: `if (n == 0) return; f(n -
    1);`.

    Returns:
        Whether there was such a statement.
    """
    is_refuted = False
    for statement in statements:
        emitted = a.blocks[-1]
        start = len(emitted)
        try:
            is_decided = analyze(a, statement)
        except Fault as fault:
            _poison(a, statement)
            is_assertion = fault.diagnostic is not None and fault.diagnostic.code == _ASSERTION
            if is_assertion or not is_refuted:
                a.report(fault)
            is_refuted |= is_assertion and _is_builtin(statement)
            continue
        if is_decided and blocks.ends_elsewhere(emitted[start:]):
            return True
    return False


def _is_builtin(statement: ast.Statement) -> bool:
    return isinstance(statement, ast.ExpressionStatement) and isinstance(
        statement.expression, ast.BuiltinCall
    )


def _poison(a: Analyzer, statement: ast.Statement) -> None:
    match statement:
        case ast.Variable(name=name):
            a.declare(name, None)
        case _:
            pass


def _nested(
    a: Analyzer, statement: ast.Statement, *, goes_on: bool = False
) -> tuple[ir.Statement, ...]:
    """Analyse a statement as a block of its own."""
    a.open_block(goes_on=goes_on)
    analyze_block(a, _parts_of(statement))
    return a.close_block()


def _parts_of(statement: ast.Statement) -> Sequence[ast.Statement]:
    """Return the statements of a branch, a block or one that stands for itself."""
    match statement:
        case ast.Block(statements=statements, label=None):
            return statements
        case _:
            return (statement,)


def analyze_in_scope(a: Analyzer, statements: Sequence[ast.Statement]) -> bool:
    """Analyse statements into the current list, names in a scope of their own.

    Returns:
        What `analyze_block` does.
    """
    a.scopes.append({})
    leaves = analyze_block(a, statements)
    a.scopes.pop()
    return leaves


def analyze(a: Analyzer, node: ast.Statement) -> bool:
    """Analyse one statement; tell whether a branch of it was chosen while compiling."""
    match node:
        case ast.Variable():
            _variable(a, node)
        case ast.Assign():
            _assign(a, node)
        case ast.If():
            return _if(a, node)
        case ast.While():
            _while(a, node)
        case ast.For():
            _for(a, node)
        case ast.Switch():
            return _switch(a, node)
        case ast.Break() | ast.Continue():
            blocks.jump(a, node)
        case ast.Return(value=value, span=span):
            _return(a, value, span)
        case ast.Block(statements=statements, label=None):
            return analyze_in_scope(a, statements)
        case ast.Block():
            blocks.labelled_block(a, node, has_value=_has_value(node))
        case ast.ComptimeBlock(body=body):
            _comptime_block(a, body)
        case ast.ExpressionStatement(expression=expression):
            _evaluate(a, expression)
    return False


def _has_value(block: ast.Block) -> bool:
    """Tell whether a block with a label has a value, though it stands as a statement."""
    return any(
        isinstance(node, ast.Break) and node.label == block.label and node.value is not None
        for node in tree.nodes(block)
    )


def _comptime_block(a: Analyzer, body: ast.Block) -> None:
    if comptime_code.is_loop_or_change(body):
        comptime_code.run(a, (body,), body.span)
        return
    a.comptime_depth += 1
    try:
        analyze_in_scope(a, body.statements)
    finally:
        a.comptime_depth -= 1


def _evaluate(a: Analyzer, node: ast.Expression) -> None:
    value = operand(a, node)
    match value:
        case Runtime(_, ir.Call() | ir.Load() | ir.ReadLocal()):
            pass
        case Runtime(type_):
            a.report(
                Fault(
                    Diagnostic(
                        "unused-value",
                        f"this value of type `{type_}` is not used",
                        Annotation(node.span),
                        help="assign it, or discard it with `_ = …;`",
                        severity=Severity.WARNING,
                    )
                )
            )
        case Struct() | Array():
            pass
        case _:
            return
    discard(a, value, node.span)


def discard(a: Analyzer, value: Value, span: Span) -> None:
    """Emit the calls that a value takes."""
    match value:
        case Runtime(_, ir.Call() as call):
            a.emit(ir.Evaluate(call, span))
        case _:
            order.called(a, "_", value, span)


# --- variables and assignment --------------------------------------------------------------------


def _variable(a: Analyzer, node: ast.Variable) -> None:
    rules.check_unlinked(node)
    if node.is_comptime:
        comptime_code.declare(a, node)
        return
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
        a.declare(node.name, order.settled(a, node.name, value, span), node.name_span)
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
    """Tell whether a constant struct that only run time knows has to lie in memory."""
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
    a.declare(node.name, whole, node.name_span)


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
            a.declare(node.name, bound, node.name_span)
            return
        value = conversions.zero(type_, node.name_span)
    a.emit(ir.SetLocal(bound.local, a.expression(value, node.span), node.span))
    a.declare(node.name, bound, node.name_span)


def _memory_variable(a: Analyzer, node: ast.Variable, type_: t.Type, value: Value) -> None:
    stores.check_stored(a, t.element(type_), node.name_span)
    variable = a.new_variable(
        node.name, type_, node.name_span, is_const=node.is_const, alignment=_alignment(a, node)
    )
    if not isinstance(value, Undefined):
        stores.store_value(a, address_of_variable(variable), type_, value, node.span)
    a.declare(node.name, variable, node.name_span)


def _assign(a: Analyzer, node: ast.Assign) -> None:
    match node.target:
        case ast.Name(name="_") if a.find("_") is None:
            discard(a, operand(a, node.value), node.span)
            return
        case _:
            pass
    if comptime_code.is_change(a, node):
        comptime_code.run(a, (node,), node.span)
        return
    part = parts.target(a, node.target)
    if part is not None:
        parts.assign(a, node, *part)
        return
    lvalue = lvalue_of(a, node.target)
    if isinstance(lvalue, RuntimeLocal):
        value = new_value(a, node, Runtime(lvalue.type, ir.ReadLocal(lvalue.local)), lvalue.type)
        a.emit(ir.SetLocal(lvalue.local, a.expression(value, node.value.span), node.span))
        return
    type_ = lvalue.type
    assert isinstance(type_, t.PointerType)
    old = None
    if node.operator is not None:
        lvalue = evaluated_once(a, lvalue, node)
        old = load(a, lvalue, node.target.span)
    mark = order.here(a)
    value = new_value(a, node, old, type_.pointee)
    value = stores.apart(a, value, type_.pointee, node.value.span)
    lvalue = order.before(a, mark, lvalue, node.target.span)
    assert isinstance(lvalue, Pointer | Runtime)
    stores.store_value(a, lvalue, type_.pointee, value, node.span)


def new_value(a: Analyzer, node: ast.Assign, old: Value | None, type_: t.Type) -> Value:
    """Return the value that an assignment stores; `old` is the lvalue's, for a compound one."""
    mark = order.here(a)
    value = evaluate_as(a, node.value, None if node.operator in _SHIFTS else type_)
    if node.operator is not None and old is not None:
        old = order.before(a, mark, old, node.target.span)
        value = binary_values(a, node.operator, old, value, node.span)
    return a.coerce(value, type_, node.value.span)


def evaluated_once(a: Analyzer, lvalue: Pointer | Runtime, node: ast.Assign) -> Pointer | Runtime:
    """Return the lvalue of `p op= v` so that reading and writing it mean the same address."""
    if isinstance(lvalue, Pointer):
        return lvalue
    return Runtime(lvalue.type, order.steady(a, lvalue.expression, node.span))


# --- control flow --------------------------------------------------------------------------------


def _if(a: Analyzer, node: ast.If) -> bool:
    test = condition(a, node.condition)
    if isinstance(test, bool):
        taken = node.then if test else node.otherwise
        if taken is not None:
            analyze_in_scope(a, _parts_of(taken))
        return True
    then = _nested(a, node.then, goes_on=True)
    otherwise: tuple[ir.Statement, ...] = ()
    if node.otherwise is not None:
        otherwise = _nested(a, node.otherwise, goes_on=True)
    a.emit(ir.If(test, then, otherwise, node.span))
    return False


def _while(a: Analyzer, node: ast.While) -> None:
    test, statements = _repeated_condition(a, node)
    if test is False and not statements:
        return
    if isinstance(test, bool):
        test = ir.Immediate(ScalarType.BOOL, int(test))
    body = _loop_body(a, node)
    step = _nested(a, node.step) if node.step is not None else ()
    if statements:
        leave = ir.If(test, (), (ir.Break(),), node.condition.span)
        body = (*statements, leave, *body)
        test = ir.Immediate(ScalarType.BOOL, 1)
    a.emit(ir.Loop(test, body, step, node.span))


def _repeated_condition(
    a: Analyzer, node: ast.While
) -> tuple[bool | ir.Expression, tuple[ir.Statement, ...]]:
    """Return the condition of a loop, and what to do before it in every round."""
    a.open_block()
    try:
        with blocks.jump_target(a, JumpTarget(None, is_loop=False), node.condition.span):
            test = condition(a, node.condition)
    finally:
        statements = a.close_block()
    return test, statements


def _loop_body(a: Analyzer, node: ast.While | ast.For) -> tuple[ir.Statement, ...]:
    with blocks.jump_target(a, JumpTarget(node.label, is_loop=True), node.span):
        return _nested(a, node.body)


def _for(a: Analyzer, node: ast.For) -> None:
    iterable = operand(a, node.iterable)
    match iterable:
        case Range() if node.is_inline:
            unrolled.unroll(a, node, unrolled.numbers_of(iterable, node.iterable.span))
        case Range():
            _for_range(a, node, iterable)
        case Array() if node.is_inline:
            unrolled.unroll(a, node, _settled_parts(a, node, iterable))
        case Variable(type=t.ArrayType() as type_) | Array(type_):
            _for_array(a, node, type_, base_pointer(a, node.iterable, iterable))
        case Pointer(t.PointerType(t.ArrayType() as type_)) if _is_dereferenced(node):
            _for_array(a, node, type_, iterable)
        case Runtime(t.PointerType(t.ArrayType() as type_), base) if _is_dereferenced(node):
            kept = order.once(a, "base", base, t.U16, node.iterable.span)
            _for_array(a, node, type_, Runtime(iterable.type, kept))
        case Struct(None) | Struct((), (), None):
            unrolled.unroll(a, node, _settled_parts(a, node, iterable))
        case _:
            fail(
                "type-mismatch",
                f"a `for` loop goes over a range or an array, not over a `{type_of(iterable)}`",
                node.iterable.span,
                help="write `for (p.*) |x| { … }`"
                if isinstance(type_of(iterable), t.PointerType)
                else "write `for (@range(u16, n)) |i| { … }`",
            )


def _settled_parts(a: Analyzer, node: ast.For, iterable: Array | Struct) -> Sequence[Value]:
    """Return the iterated value as it is before the first round."""
    match order.settled(a, node.element.name, iterable, node.iterable.span):
        case Array(_, parts) | Struct(_, parts):
            return parts
        case _:
            raise AssertionError(iterable)


def _is_dereferenced(node: ast.For) -> bool:
    return isinstance(node.iterable, ast.Dereference)


def _for_range(a: Analyzer, node: ast.For, loop: Range) -> None:
    span = node.iterable.span
    counted = ranges.count(a, node.element.name, loop, span)
    steps = counted.steps
    a.scopes.append({})
    a.declare(node.element.name, counted.counter)
    if node.index is not None:
        steps = (*steps, _index_counter(a, node.index.name, span))
    body = _loop_body(a, node)
    a.scopes.pop()
    a.emit(ir.Loop(counted.test, body, steps, node.span))


def _index_counter(a: Analyzer, name: str, span: Span) -> ir.Statement:
    """Start a counter of iterations and return the statement that advances it."""
    counter = a.new_local(name, t.U16, is_const=True)
    a.declare(name, counter)
    a.emit(ir.SetLocal(counter.local, ir.Immediate(ScalarType.U16, 0), span))
    one = ir.Immediate(ScalarType.U16, 1)
    advance = a.binary(Opcode.ADD, t.U16, ir.ReadLocal(counter.local), one)
    return ir.SetLocal(counter.local, advance, span)


def _for_array(a: Analyzer, node: ast.For, type_: t.ArrayType, pointer: Value) -> None:
    if node.is_inline:
        unrolled.unroll(a, node, unrolled.elements_in_memory(a, node, type_, pointer))
        return
    span = node.iterable.span
    base = a.expression(pointer, span)
    step = t.num_bytes(type_.element)
    offset = a.new_local("offset", t.U16, is_const=False).local
    read = ir.ReadLocal(offset)
    a.emit(ir.SetLocal(offset, ir.Immediate(ScalarType.U16, 0), span))
    end = ir.Immediate(ScalarType.U16, type_.num_elements * step)
    test = a.binary(Opcode.LESS, t.U16, read, end)
    size = ir.Immediate(ScalarType.U16, step)
    steps: list[ir.Statement] = [ir.SetLocal(offset, a.binary(Opcode.ADD, t.U16, read, size), span)]
    a.scopes.append({})
    if node.index is not None:
        steps.append(_index_counter(a, node.index.name, span))
    a.open_block()
    address = Runtime(t.PointerType(type_.element), a.binary(Opcode.ADD, t.U16, base, read))
    a.declare(node.element.name, _captured(a, node.element.name, address, type_.element, span))
    with blocks.jump_target(a, JumpTarget(node.label, is_loop=True), node.span):
        analyze_block(a, node.body.statements)
    body = a.close_block()
    a.scopes.pop()
    a.emit(ir.Loop(test, body, tuple(steps), node.span))


def _captured(
    a: Analyzer, name: str, address: Runtime, type_: t.Type, span: Span
) -> RuntimeLocal | Value:
    """Return an element of an array as it is at the start of a round."""
    if isinstance(type_, t.StructType):
        return order.settled(a, name, load(a, a.anchored(address, span), span), span)
    element = a.new_local(name, type_, is_const=True)
    word = ir.Load(a.ir_type(type_, span), address.expression)
    a.emit(ir.SetLocal(element.local, word, span))
    return element


def _switch(a: Analyzer, node: ast.Switch) -> bool:
    scrutinee = evaluate(a, node.scrutinee)
    rules.check_switched(scrutinee, node.scrutinee.span)
    if not isinstance(scrutinee, Runtime):
        chosen = choose_arm(a, scrutinee, [arm.patterns for arm in node.arms], node.scrutinee.span)
        if chosen is None:
            rules.no_arm(scrutinee, node.span)
        body = node.arms[chosen].body
        analyze_in_scope(a, _parts_of(body))
        return True
    a.ir_type(scrutinee.type, node.scrutinee.span)
    kept = order.once(a, "scrutinee", scrutinee.expression, scrutinee.type, node.span)
    value = Runtime(scrutinee.type, kept)
    rest: tuple[ir.Statement, ...] = ()
    arms = [arm for arm in node.arms if arm.patterns]
    for arm in node.arms:
        if not arm.patterns:
            rest = _nested(a, arm.body)
    tests = arm_tests(a, value, [arm.patterns for arm in arms])
    for arm, test in zip(reversed(arms), reversed(tests), strict=True):
        rest = (ir.If(test, _nested(a, arm.body), rest, arm.span),)
    for statement in rest:
        a.emit(statement)
    return False


def _return(a: Analyzer, node: ast.Expression | None, span: Span) -> None:
    if node is None:
        if a.result != t.VOID:
            fail("type-mismatch", f"a value of type `{a.result}` has to be returned", span)
        a.emit(ir.Return(None))
        return
    value = evaluate_as(a, node, None if a.result == t.VOID else a.result)
    if a.result == t.VOID:
        match value:
            case Void():
                pass
            case Runtime(t.VOID, ir.Call() as call):
                a.emit(ir.Evaluate(call, span))
            case _:
                a.coerce(value, t.VOID, node.span, "the result")
        a.emit(ir.Return(None))
        return
    if isinstance(a.result, t.StructType | t.ArrayType):
        structs.store_result(a, value, a.result, node.span)
        a.emit(ir.Return(None))
        return
    a.emit(ir.Return(a.sized(value, a.result, node.span, "the result"), span))
