"""Run-time code that is executed at compile time: `comptime var`, and blocks that loop.

They are executed by the closures of comptime functions, in which known names have their values
and run-time locals are unknown values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema.closures import Frame, Scope, compile_statements
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.bound_names import ComptimeLocal, PlacedNumber, RuntimeLocal
from onewafer.csl.sema.runtime.dispatch import evaluate_comptime, evaluate_type
from onewafer.csl.sema.values import Array, Runtime, Undefined, Value, conversions, not_comptime
from onewafer.csl.syntax import ast, tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.diagnostics import Span


def declare(a: Analyzer, node: ast.Variable) -> None:
    """Declare a `comptime var` or `comptime const`."""
    type_ = evaluate_type(a, node.type) if node.type is not None else None
    value: Value = Undefined()
    if node.initializer is not None:
        value = evaluate_comptime(a, node.initializer)
    if type_ is not None:
        value = conversions.coerce(value, type_, node.span, f"the value of `{node.name}`")
    elif node.initializer is None:
        fail("type-mismatch", f"`{node.name}` needs a type or a value", node.span)
    if isinstance(value, Runtime):
        not_comptime(value, node.span)
    if node.is_const:
        a.names.declare(node.name, value, node.name_span)
        return
    if isinstance(value, Array):
        value = value.copy()
    a.names.declare(node.name, ComptimeLocal(value, len(a.blocks)), node.name_span)


def is_change(a: Analyzer, node: ast.Assign) -> bool:
    """Tell whether a comptime variable is assigned to, as a whole or in part."""
    target = node.target
    while isinstance(target, ast.Member | ast.Index):
        target = target.base
    return isinstance(target, ast.Name) and a.names.comptime_variable(target.name) is not None


def is_loop_or_change(block: ast.Block) -> bool:
    """Tell whether a block has loops, assignments or variables, and has to be executed."""
    return any(
        isinstance(node, ast.Assign | ast.While | ast.For)
        or (isinstance(node, ast.Variable) and not node.is_const)
        for node in tree.nodes(block)
    )


def run(a: Analyzer, statements: Sequence[ast.Statement], span: Span) -> None:
    """Execute statements at compile time; they may change the comptime variables around them."""
    scope, frame = Scope(), Frame(a.module, 0)
    variables: list[tuple[ComptimeLocal, int]] = []
    for names in a.names.scopes:
        scope.blocks.append({})
        for name, bound in names.items():
            is_variable = isinstance(bound, ComptimeLocal)
            slot = scope.declare(name, is_const=not is_variable)
            match bound:
                case ComptimeLocal(value):
                    variables.append((bound, slot.index))
                case PlacedNumber(value):
                    pass
                case RuntimeLocal(_, type_, local):
                    value = Runtime(type_, ir.ReadLocal(local))
                case _:
                    value = bound
            frame.slots.append(value)
    execute = compile_statements(statements, scope)
    changed = [(local, index) for local, index in variables if index in scope.assigned]
    if any(local.depth != len(a.blocks) for local, _ in changed):
        fail(
            "not-comptime",
            "a `comptime var` changes once, while compiling; this code runs at run time, "
            "sometimes or several times",
            span,
            help="change it outside of branches and loops of run time, or use a `var`",
        )
    for _, index in changed:  # earlier uses keep the old array
        value = frame.slots[index]
        frame.slots[index] = value.copy() if isinstance(value, Array) else value
    frame.slots.extend([None] * (scope.size - len(frame.slots)))
    with a.module.session.frozen():
        signal = execute(frame)
    if signal is not None:
        fail("misplaced-jump", "code that runs while compiling cannot leave run-time code", span)
    for local, index in changed:
        value = frame.slots[index]
        assert value is not None
        local.value, local.variable = value, None
