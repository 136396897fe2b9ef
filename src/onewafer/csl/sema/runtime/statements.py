"""Statements of run-time code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.instance.jump_target import JumpTarget
from onewafer.csl.sema.runtime import comptime_code, order, ranges, structs, unrolled
from onewafer.csl.sema.runtime.addresses import base_pointer, load
from onewafer.csl.sema.runtime.blocks import jump_target
from onewafer.csl.sema.runtime.bodies import analyze_block, analyze_in_scope, nested, parts_of
from onewafer.csl.sema.runtime.dispatch import analyzes, evaluate, evaluate_as, operand
from onewafer.csl.sema.runtime.expressions import arm_tests, choose_arm, condition
from onewafer.csl.sema.runtime.temporaries import once
from onewafer.csl.sema.values import (
    Array,
    Pointer,
    Range,
    Runtime,
    Struct,
    Value,
    Variable,
    Void,
    type_of,
)
from onewafer.csl.syntax import ast
from onewafer.diagnostics import Annotation, Diagnostic, Severity
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.bound_names import RuntimeLocal
    from onewafer.diagnostics import Span


@analyzes(ast.ComptimeBlock)
def _comptime_block(a: Analyzer, node: ast.ComptimeBlock) -> bool:
    body = node.body
    if comptime_code.is_loop_or_change(body):
        comptime_code.run(a, (body,), body.span)
        return False
    a.comptime_depth += 1
    try:
        analyze_in_scope(a, body.statements)
    finally:
        a.comptime_depth -= 1
    return False


@analyzes(ast.ExpressionStatement)
def _evaluate(a: Analyzer, statement: ast.ExpressionStatement) -> bool:
    node = statement.expression
    _discard(a, node, operand(a, node))
    return False


def _discard(a: Analyzer, node: ast.Expression, value: Value) -> None:
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
    order.discard(a, value, node.span)


# --- control flow --------------------------------------------------------------------------------


@analyzes(ast.If)
def _if(a: Analyzer, node: ast.If) -> bool:
    test = condition(a, node.condition)
    if isinstance(test, bool):
        taken = node.then if test else node.otherwise
        if taken is not None:
            analyze_in_scope(a, parts_of(taken))
        return True
    then = nested(a, node.then, goes_on=True)
    otherwise: tuple[ir.Statement, ...] = ()
    if node.otherwise is not None:
        otherwise = nested(a, node.otherwise, goes_on=True)
    a.emit(ir.If(test, then, otherwise, node.span))
    return False


@analyzes(ast.While)
def _while(a: Analyzer, node: ast.While) -> bool:
    test, statements = _repeated_condition(a, node)
    if test is False and not statements:
        return False
    if isinstance(test, bool):
        test = ir.Immediate(ScalarType.BOOL, int(test))
    body = _loop_body(a, node)
    step = nested(a, node.step) if node.step is not None else ()
    if statements:
        leave = ir.If(test, (), (ir.Break(),), node.condition.span)
        body = (*statements, leave, *body)
        test = ir.Immediate(ScalarType.BOOL, 1)
    a.emit(ir.Loop(test, body, step, node.span))
    return False


def _repeated_condition(
    a: Analyzer, node: ast.While
) -> tuple[bool | ir.Expression, tuple[ir.Statement, ...]]:
    """Return the condition of a loop, and the statements before it in every round."""
    a.open_block()
    try:
        with jump_target(a, JumpTarget(None, is_loop=False), node.condition.span):
            test = condition(a, node.condition)
    finally:
        statements = a.close_block()
    return test, statements


def _loop_body(a: Analyzer, node: ast.While | ast.For) -> tuple[ir.Statement, ...]:
    with jump_target(a, JumpTarget(node.label, is_loop=True), node.span):
        return nested(a, node.body)


@analyzes(ast.For)
def _for(a: Analyzer, node: ast.For) -> bool:
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
            kept = once(a, "base", base, t.U16, node.iterable.span)
            _for_array(a, node, type_, Runtime(iterable.type, kept))
        case Struct(None) | Struct((), (), None):
            unrolled.unroll(a, node, _settled_parts(a, node, iterable))
        case _:
            rules.not_iterable(type_of(iterable), node.iterable.span)
    return False


def _settled_parts(a: Analyzer, node: ast.For, iterable: Array | Struct) -> Sequence[Value]:
    """Return the parts of the iterated value as they are before the first round."""
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
    a.names.open()
    a.names.declare(node.element.name, counted.counter)
    if node.index is not None:
        steps = (*steps, _index_counter(a, node.index.name, span))
    body = _loop_body(a, node)
    a.names.close()
    a.emit(ir.Loop(counted.test, body, steps, node.span))


def _index_counter(a: Analyzer, name: str, span: Span) -> ir.Statement:
    """Start a counter of iterations and return the statement that advances it."""
    counter = a.new_local(name, t.U16, is_const=True)
    a.names.declare(name, counter)
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
    a.names.open()
    if node.index is not None:
        steps.append(_index_counter(a, node.index.name, span))
    a.open_block()
    address = Runtime(t.PointerType(type_.element), a.binary(Opcode.ADD, t.U16, base, read))
    a.names.declare(
        node.element.name, _captured(a, node.element.name, address, type_.element, span)
    )
    with jump_target(a, JumpTarget(node.label, is_loop=True), node.span):
        analyze_block(a, node.body.statements)
    body = a.close_block()
    a.names.close()
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


@analyzes(ast.Switch)
def _switch(a: Analyzer, node: ast.Switch) -> bool:
    scrutinee = evaluate(a, node.scrutinee)
    rules.check_switched(scrutinee, node.scrutinee.span)
    if not isinstance(scrutinee, Runtime):
        chosen = choose_arm(a, scrutinee, [arm.patterns for arm in node.arms], node.scrutinee.span)
        if chosen is None:
            rules.no_arm(scrutinee, node.span)
        body = node.arms[chosen].body
        analyze_in_scope(a, parts_of(body))
        return True
    a.ir_type(scrutinee.type, node.scrutinee.span)
    kept = once(a, "scrutinee", scrutinee.expression, scrutinee.type, node.span)
    value = Runtime(scrutinee.type, kept)
    rest: tuple[ir.Statement, ...] = ()
    arms = [arm for arm in node.arms if arm.patterns]
    for arm in node.arms:
        if not arm.patterns:
            rest = nested(a, arm.body)
    tests = arm_tests(a, value, [arm.patterns for arm in arms])
    for arm, test in zip(reversed(arms), reversed(tests), strict=True):
        rest = (ir.If(test, nested(a, arm.body), rest, arm.span),)
    for statement in rest:
        a.emit(statement)
    return False


@analyzes(ast.Return)
def _return(a: Analyzer, node: ast.Return) -> bool:
    if node.value is None:
        _return_nothing(a, node.span)
    else:
        _return_value(a, node.value, node.span)
    return False


def _return_nothing(a: Analyzer, span: Span) -> None:
    if a.result != t.VOID:
        fail("type-mismatch", f"a value of type `{a.result}` has to be returned", span)
    a.emit(ir.Return(None))


def _return_value(a: Analyzer, node: ast.Expression, span: Span) -> None:
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
