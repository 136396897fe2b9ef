"""Statements as closures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.closures.dispatch import (
    compile_block,
    compile_expression,
    compile_type,
    compiles_statement,
)
from onewafer.csl.sema.closures.expressions import compile_operand, select_arm
from onewafer.csl.sema.closures.frame import Scope, Signal, undeclared
from onewafer.csl.sema.closures.grouped_loops import GroupedLoop
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.rules.labels import check_label, labelled
from onewafer.csl.sema.values import (
    Array,
    Range,
    Scalar,
    Struct,
    Value,
    conversions,
    force,
    operations,
    packed,
    truth,
    type_of,
)
from onewafer.csl.syntax import ast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from onewafer.csl.sema.closures.frame import Evaluate, Execute, Frame, Slot
    from onewafer.diagnostics import Span


@compiles_statement(ast.ExpressionStatement)
def _compile_value(node: ast.ExpressionStatement, scope: Scope) -> Execute:
    return _discard(compile_operand(node.expression, scope))


@compiles_statement(ast.ComptimeBlock)
def _compile_comptime(node: ast.ComptimeBlock, scope: Scope) -> Execute:
    return compile_block(node.body.statements, scope)


# --- labels --------------------------------------------------------------------------------------


@compiles_statement(ast.Break)
def _compile_break(node: ast.Break, scope: Scope) -> Execute:
    if node.label is None:
        return lambda _: Signal.BREAK
    check_label(node.label, scope.labels, node.span, is_loop=False)
    if node.value is None:
        return _go_to(node.label, Signal.BREAK_LABEL)
    label, value = node.label, compile_expression(node.value, scope)

    def run(frame: Frame) -> Signal:
        frame.broken = value(frame)
        frame.label = label
        return Signal.BREAK_LABEL

    return run


def _go_to(label: str, signal: Signal) -> Execute:
    def run(frame: Frame) -> Signal:
        frame.label = label
        return signal

    return run


@compiles_statement(ast.Continue)
def _compile_continue(node: ast.Continue, scope: Scope) -> Execute:
    if node.label is None:
        return lambda _: Signal.CONTINUE
    check_label(node.label, scope.labels, node.span, is_loop=True)
    return _go_to(node.label, Signal.CONTINUE_LABEL)


def compile_labelled(node: ast.Block, scope: Scope) -> Execute:
    """Return a closure that executes a block until its end or a `break` to its label."""
    label = node.label
    with labelled(scope.labels, label, node.span, is_loop=False):
        body = compile_block(node.statements, scope)
    if label is None:
        return body

    def run(frame: Frame) -> Signal | None:
        signal = body(frame)
        return None if signal is Signal.BREAK_LABEL and frame.arrives(label) else signal

    return run


@compiles_statement(ast.Block)
def _compile_block(node: ast.Block, scope: Scope) -> Execute:
    """Return a closure that executes a block statement."""
    block = compile_labelled(node, scope)
    if node.label is None:
        return block

    def run(frame: Frame) -> Signal | None:
        signal = block(frame)
        if signal is None:
            frame.broken = None  # the value is not used
        return signal

    return run


def _ends_loop(frame: Frame, signal: Signal | None, label: str | None) -> bool:
    """Tell whether a signal of a loop's body ends the loop."""
    if signal is None or signal is Signal.CONTINUE:
        return False
    return not (signal is Signal.CONTINUE_LABEL and frame.arrives(label))


def _leaves(frame: Frame, signal: Signal, label: str | None) -> Signal | None:
    """Return the signal for the enclosing block after a signal ended a loop."""
    if signal is Signal.BREAK or (signal is Signal.BREAK_LABEL and frame.arrives(label)):
        return None
    return signal


# --- variables -----------------------------------------------------------------------------------


@compiles_statement(ast.Variable)
def _compile_variable(node: ast.Variable, scope: Scope) -> Execute:
    type_ = compile_type(node.type, scope) if node.type is not None else None
    initializer = compile_expression(node.initializer, scope) if node.initializer else None
    index = scope.declare(node.name, is_const=node.is_const, span=node.name_span).index
    span = node.initializer.span if node.initializer else node.name_span

    def run(frame: Frame) -> Signal | None:
        frame.slots[index] = None
        if initializer is None:
            if type_ is None:
                fail("type-mismatch", "a variable needs a type or a value", span)
            value = conversions.zero(rules.expect_type(type_(frame), span), span)
        else:
            value = initializer(frame)
            if type_ is not None:
                value = conversions.coerce(value, rules.expect_type(type_(frame), span), span)
        frame.slots[index] = value.copy() if type(value) is Array else value
        return None

    return run


# --- assignment ----------------------------------------------------------------------------------


@compiles_statement(ast.Assign)
def _compile_assign(node: ast.Assign, scope: Scope) -> Execute:
    value = compile_expression(node.value, scope)
    span = node.value.span
    if node.operator is not None:
        value = _combined(node.operator, compile_expression(node.target, scope), value, node.span)
    match node.target:
        case ast.Name(name="_") if scope.find("_") is None:
            return _discard(value)
        case ast.Name(name=name, span=where):
            slot = _variable(scope, name, where)
            if slot is None:
                return _fault(name, where)
            index = slot.index

            def assign(frame: Frame) -> Signal | None:
                frame.slots[index] = _replace(frame.slots[index], value(frame), span)
                return None

            return assign
        case _:
            return _compile_update(node.target, value, span, scope)


def _combined(operator: ast.BinaryOperator, old: Evaluate, new: Evaluate, span: Span) -> Evaluate:
    return lambda f: operations.binary(operator, old(f), new(f), span)


def _discard(value: Evaluate) -> Execute:
    def run(frame: Frame) -> Signal | None:
        value(frame)
        return None

    return run


def _fault(name: str, span: Span) -> Execute:
    def run(_: Frame) -> Signal | None:
        undeclared(name, span)
        return None

    return run


def _variable(scope: Scope, name: str, span: Span) -> Slot | None:
    slot = scope.find(name)
    if slot is not None and slot.is_const:
        fail(
            "not-assignable",
            f"`{name}` is constant",
            span,
            help="declare it with `var`, or with `comptime var` in the run-time code around",
        )
    if slot is not None:
        scope.assigned.append(slot.index)
    return slot


def _replace(old: Value | None, new: Value, span: Span) -> Value:
    """Return `new` in the type of the variable that holds `old`."""
    if old is None:
        raise Fault(None)
    is_anonymous = isinstance(old, Struct) and old.type is None
    value = new if is_anonymous else conversions.coerce(new, type_of(old), span)
    return value.copy() if type(value) is Array else value


@dataclass(frozen=True, slots=True)
class _Step:
    """One `.name` or `[indices]` on the path from a local to the assigned part."""

    name: str | None
    indices: tuple[Evaluate, ...]
    span: Span


def _steps_to(target: ast.Expression, scope: Scope) -> tuple[ast.Expression, list[_Step]]:
    """Return the variable that an lvalue is part of, and the steps from it to the part."""
    steps: list[_Step] = []
    node = target
    while True:
        match node:
            case ast.Member(base=base, name=name):
                steps.append(_Step(name, (), node.span))
            case ast.Index(base=base, indices=indices):
                compiled = tuple(compile_expression(i, scope) for i in indices)
                steps.append(_Step(None, compiled, node.span))
            case _:
                return node, steps[::-1]
        node = base


def _compile_update(target: ast.Expression, value: Evaluate, span: Span, scope: Scope) -> Execute:
    whole, steps = _steps_to(target, scope)
    if not isinstance(whole, ast.Name):
        rules.no_address(whole.span)
    slot = _variable(scope, whole.name, whole.span)
    if slot is None:
        return _fault(whole.name, whole.span)
    index = slot.index

    def run(frame: Frame) -> Signal | None:
        new = value(frame)
        old = frame.slots[index]
        if old is None:
            raise Fault(None)
        if type(old) is Array and len(steps) == 1:
            _set_element(frame, old, steps[0], new, span)
        else:
            frame.slots[index] = _update(frame, old, steps, new, span)
        return None

    return run


def _set_element(frame: Frame, array: Array, step: _Step, new: Value, span: Span) -> None:
    """Change an array that belongs to one variable, in place."""
    position = _position(frame, array, step)
    array.elements[position] = _replace(array.elements[position], new, span)


def _position(frame: Frame, array: Array, step: _Step) -> int:
    if step.name is not None:
        _no_such_part(array, step)
    values = [index(frame) for index in step.indices]
    flat = rules.flat_index(array.type.dimensions, values, step.span, f"`{array.type}`")
    return conversions.forced_integer(flat, step.span, "index")


def _no_such_part(container: Value, step: _Step) -> NoReturn:
    what = f"field `{step.name}`" if step.name is not None else "element"
    fail("unknown-field", f"a `{type_of(container)}` has no such {what}", step.span)


def _update(
    frame: Frame, container: Value, steps: Sequence[_Step], new: Value, span: Span
) -> Value:
    """Return a value with a replaced part; its arrays may be shared with other values."""
    if not steps:
        return _replace(container, new, span)
    step, rest = steps[0], steps[1:]
    match container:
        case Struct(names, fields) if names is not None and step.name in names:
            rules.member(container, step.name, step.span)  # refuses what a union has not
            position = names.index(step.name)
        case Scalar(t.PackedType()) if step.name is not None:
            old = packed.read(container, step.name, step.span)
            part = _update(frame, old, rest, new, span)
            return packed.with_field(container, step.name, part, span)
        case Struct(None, fields) if step.name is None:
            position = conversions.forced_integer(step.indices[0](frame), step.span, "an index")
            if not 0 <= position < len(fields):
                fail("index-out-of-range", f"index {position} is outside of the tuple", step.span)
        case Array():
            position, changed = _position(frame, container, step), container.copy()
            part = _update(frame, changed.elements[position], rest, new, span)
            changed.elements[position] = part
            return changed
        case _:
            _no_such_part(container, step)
    part = _update(frame, fields[position], rest, new, span)
    return container.with_fields((*fields[:position], part, *fields[position + 1 :]))


# --- control flow --------------------------------------------------------------------------------


@compiles_statement(ast.If)
def _compile_if(node: ast.If, scope: Scope) -> Execute:
    condition, span = compile_expression(node.condition, scope), node.condition.span
    then = compile_block((node.then,), scope)
    if node.otherwise is None:
        return lambda f: then(f) if truth(condition(f), span, "if") else None
    otherwise = compile_block((node.otherwise,), scope)
    return lambda f: then(f) if truth(condition(f), span, "if") else otherwise(f)


@compiles_statement(ast.While)
def _compile_while(node: ast.While, scope: Scope) -> Execute:
    condition, span = compile_expression(node.condition, scope), node.condition.span
    with labelled(scope.labels, node.label, node.span, is_loop=True):
        body = compile_block(node.body.statements, scope)
    step = compile_block((node.step,), scope) if node.step is not None else None
    whole, label = node.span, node.label

    def run(frame: Frame) -> Signal | None:
        tick = frame.module.session.tick
        while truth(condition(frame), span, "while"):
            tick(whole)
            signal = body(frame)
            if signal is not None and _ends_loop(frame, signal, label):
                return _leaves(frame, signal, label)
            if step is not None:
                step(frame)
        return None

    return run


@compiles_statement(ast.For)
def _compile_for(node: ast.For, scope: Scope) -> Execute:
    iterable = compile_expression(node.iterable, scope)
    walked = _compile_walk(node.iterable, scope)
    span, whole = node.iterable.span, node.span
    scope.blocks.append({})
    element = scope.declare(node.element.name, is_const=True).index
    index = scope.declare(node.index.name, is_const=True).index if node.index else None
    num_assigned = len(scope.assigned)
    label = node.label
    with labelled(scope.labels, label, node.span, is_loop=True):
        body = compile_block(node.body.statements, scope)
    scope.blocks.pop()
    # What an iteration leaves in a variable from outside, the next one may read.
    is_independent = all(slot > element for slot in scope.assigned[num_assigned:])
    loop = GroupedLoop(element, index, body) if is_independent and label is None else None

    def run(frame: Frame) -> Signal | None:
        tick, slots = frame.module.session.tick, frame.slots
        values = walked(frame) if walked is not None else None
        if values is None:
            iterated = iterable(frame)
            is_layout = frame.module.context.is_layout
            if loop is not None and is_layout and loop.run(frame, iterated, span):
                return None
            values = iterate(iterated, span)
        for number, value in enumerate(values):
            tick(whole)
            slots[element] = value
            if index is not None:
                slots[index] = Scalar(t.COMPTIME_INT, number)
            signal = body(frame)
            if signal is not None and _ends_loop(frame, signal, label):
                return _leaves(frame, signal, label)
        return None

    return run


def _compile_walk(
    node: ast.Expression, scope: Scope
) -> Callable[[Frame], Iterator[Value] | None] | None:
    """Return an iteration over an array in a variable; None: the loop has another operand.

    As at run time, each element is read when the loop reaches it.
    """
    whole, steps = _steps_to(node, scope)
    slot = scope.find(whole.name) if isinstance(whole, ast.Name) else None
    if slot is None or slot.is_const:
        return None
    index = slot.index

    def walk(frame: Frame) -> Iterator[Value] | None:
        array, path = frame.slots[index], list[int]()
        for step in steps:
            match array:
                case Struct(names, fields) if names is not None and step.name is not None:
                    rules.member(array, step.name, step.span)  # refuses what is not there
                    path.append(names.index(step.name))
                    array = fields[path[-1]]
                case Array(_, elements):
                    path.append(_position(frame, array, step))
                    array = elements[path[-1]]
                case _:
                    return None
        if not isinstance(array, Array):
            return None
        return (_part(frame.slots[index], (*path, i)) for i in range(len(array.elements)))

    return walk


def _part(value: Value | None, path: Sequence[int]) -> Value:
    for position in path:
        match value:
            case Struct(_, parts) | Array(_, parts):
                value = parts[position]
            case _:
                raise AssertionError(value)
    assert value is not None
    return value


def iterate(value: Value, span: Span) -> Iterator[Value]:
    """Yield the elements of a comptime value in a `for` loop."""
    match value:
        case Range(type_, Scalar() as start, Scalar() as stop, Scalar() as step):
            bounds = (int(force(bound, "loop bound", span)) for bound in (start, stop, step))
            return (Scalar(type_, number) for number in range(*bounds))
        case Array(_, elements):
            return iter(list(elements))
        case Struct(None, fields) | Struct((), fields, None):
            return iter(fields)
        case _:
            rules.not_iterable(type_of(value), span)


@compiles_statement(ast.Switch)
def _compile_switch(node: ast.Switch, scope: Scope) -> Execute:
    scrutinee = compile_expression(node.scrutinee, scope)
    patterns = [[compile_expression(p, scope) for p in arm.patterns] for arm in node.arms]
    spans = [[p.span for p in arm.patterns] for arm in node.arms]
    bodies: list[Callable[[Frame], Signal | None]] = [
        compile_block((arm.body,), scope) for arm in node.arms
    ]
    span = node.span

    def run(frame: Frame) -> Signal | None:
        value = scrutinee(frame)
        rules.check_switched(value, node.scrutinee.span)
        chosen = select_arm(frame, value, patterns, spans, scrutinee=node.scrutinee.span)
        if chosen is None:
            rules.no_arm(value, span)
        return bodies[chosen](frame)

    return run


@compiles_statement(ast.Return)
def _compile_return(node: ast.Return, scope: Scope) -> Execute:
    if node.value is None:
        return lambda _: Signal.RETURN
    value = compile_expression(node.value, scope)

    def run(frame: Frame) -> Signal | None:
        frame.result = value(frame)
        return Signal.RETURN

    return run
