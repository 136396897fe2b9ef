"""The dispatch of syntax nodes: each kind of node has one rule, registered by a decorator.

The files of this package call each other's rules through this one, and so need not import one
another, although calls, blocks and expressions contain each other in CSL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from onewafer.csl.sema import rules
from onewafer.csl.sema.values.in_memory import constant
from onewafer.csl.syntax import ast

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.csl.sema import types as t
    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.values import Value

_Rule = TypeVar("_Rule")
_Node = TypeVar("_Node", bound=ast.Expression | ast.Statement)

EXPRESSIONS: Final[dict[type, Callable[[Analyzer, Any], Value]]] = {}
"""Kind of expression → its rule, except for choices."""
CHOICES: Final[dict[type, Callable[[Analyzer, Any, t.Type | None], Value]]] = {}
"""Kind of expression with branches → its rule, which gets the type wanted for the value."""
STATEMENTS: Final[dict[type, Callable[[Analyzer, Any], bool]]] = {}
"""Kind of statement → its rule."""


def evaluates(
    *kinds: type[_Node],
) -> Callable[[Callable[[Analyzer, _Node], Value]], Callable[[Analyzer, _Node], Value]]:
    """Make the decorated function the rule by which `operand` evaluates kinds of expressions."""
    return lambda rule: _registered(EXPRESSIONS, kinds, rule)


def evaluates_choice(
    kind: type[_Node],
) -> Callable[
    [Callable[[Analyzer, _Node, t.Type | None], Value]],
    Callable[[Analyzer, _Node, t.Type | None], Value],
]:
    """Make the decorated function the rule by which `evaluate_as` evaluates a kind of choice."""
    return lambda rule: _registered(CHOICES, (kind,), rule)


def analyzes(
    *kinds: type[_Node],
) -> Callable[[Callable[[Analyzer, _Node], bool]], Callable[[Analyzer, _Node], bool]]:
    """Make the decorated function the rule by which `analyze` handles kinds of statements."""
    return lambda rule: _registered(STATEMENTS, kinds, rule)


def _registered(table: dict[type, Any], kinds: tuple[type, ...], rule: _Rule) -> _Rule:
    for kind in kinds:
        assert kind not in table, kind
        table[kind] = rule
    return rule


def evaluate(a: Analyzer, node: ast.Expression) -> Value:
    """Return the value of an expression, loaded from memory unless it is an array."""
    return a.load(operand(a, node), node.span)


def operand(a: Analyzer, node: ast.Expression) -> Value:
    """Return the value of an expression; a variable in memory is returned unloaded."""
    rule = EXPRESSIONS.get(type(node))
    if rule is None:
        return constant(CHOICES[type(node)](a, node, None), node.span)
    return rule(a, node)


def evaluate_as(a: Analyzer, node: ast.Expression, type_: t.Type | None) -> Value:
    """Return the value of an expression that is about to become a `type_` (None: unknown).

    The type reaches the branches of a choice, so that `x = if (c) 1 else 2` works at run time.
    """
    choice = CHOICES.get(type(node))
    return evaluate(a, node) if choice is None else choice(a, node, type_)


def evaluate_comptime(a: Analyzer, node: ast.Expression) -> Value:
    """Return the value of an expression that has to be known while compiling."""
    a.comptime_depth += 1
    try:
        return evaluate(a, node)
    finally:
        a.comptime_depth -= 1


def evaluate_type(a: Analyzer, node: ast.Expression) -> t.Type:
    """Return the type that a type expression means."""
    return rules.expect_type(evaluate_comptime(a, node), node.span)


def analyze(a: Analyzer, node: ast.Statement) -> bool:
    """Analyse one statement; return True if one of its branches was chosen at compile time."""
    return STATEMENTS[type(node)](a, node)
