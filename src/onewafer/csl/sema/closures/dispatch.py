"""The dispatch from nodes to closures: each kind of node has one registered rule.

The modules of this package call one another's rules through the `compile_…` of this one, so they
need no imports of one another, although expressions, statements and calls contain each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from onewafer.csl.sema import rules
from onewafer.csl.sema.values import TypeValue
from onewafer.csl.syntax import ast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.csl.sema.closures.frame import Evaluate, Execute, Frame, Scope, Signal
    from onewafer.csl.sema.values import Value

    _Compiled = TypeVar("_Compiled", Evaluate, Execute)

_Node = TypeVar("_Node", bound=ast.Expression | ast.Statement)

EXPRESSIONS: dict[type, Callable[[Any, Scope], Evaluate]] = {}
"""Rules of all kinds of expressions, for their values."""
POINTEES: dict[type, Callable[[Any, Scope], Evaluate]] = {}
"""Rules of expressions that may name a type under construction as a pointer's target."""
STATEMENTS: dict[type, Callable[[Any, Scope], Execute]] = {}
"""Rules of all kinds of statements."""


def compiles(
    kind: type[_Node],
) -> Callable[[Callable[[_Node, Scope], Evaluate]], Callable[[_Node, Scope], Evaluate]]:
    """Make the decorated function the rule of one kind of expression."""
    return _registered(EXPRESSIONS, kind)


def compiles_pointee(
    kind: type[_Node],
) -> Callable[[Callable[[_Node, Scope], Evaluate]], Callable[[_Node, Scope], Evaluate]]:
    """Make the decorated function the rule of one kind of expression as a pointer's target."""
    return _registered(POINTEES, kind)


def compiles_statement(
    kind: type[_Node],
) -> Callable[[Callable[[_Node, Scope], Execute]], Callable[[_Node, Scope], Execute]]:
    """Make the decorated function the rule of one kind of statement."""
    return _registered(STATEMENTS, kind)


def _registered(
    table: dict[type, Callable[[Any, Scope], _Compiled]], kind: type[_Node]
) -> Callable[[Callable[[_Node, Scope], _Compiled]], Callable[[_Node, Scope], _Compiled]]:
    def register(rule: Callable[[_Node, Scope], _Compiled]) -> Callable[[_Node, Scope], _Compiled]:
        assert kind not in table, kind
        table[kind] = rule
        return rule

    return register


def compile_expression(node: ast.Expression, scope: Scope) -> Evaluate:
    """Return a closure that evaluates `node`; a run-time variable as value is a fault."""
    return EXPRESSIONS[type(node)](node, scope)


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


def compile_pointee(node: ast.Expression, scope: Scope) -> Evaluate:
    """Return a closure for a pointer's target type, perhaps under construction."""
    return POINTEES.get(type(node), compile_type)(node, scope)


def compile_statement(node: ast.Statement, scope: Scope) -> Execute:
    """Return a closure that executes `node`."""
    return STATEMENTS[type(node)](node, scope)


def compile_block(statements: Sequence[ast.Statement], scope: Scope) -> Execute:
    """Return a closure that executes statements in a scope of their own."""
    scope.blocks.append({})
    compiled = tuple(compile_statement(statement, scope) for statement in statements)
    scope.blocks.pop()
    if len(compiled) == 1:
        return compiled[0]

    def run(frame: Frame) -> Signal | None:
        for execute in compiled:
            signal = execute(frame)
            if signal is not None:
                return signal
        return None

    return run
