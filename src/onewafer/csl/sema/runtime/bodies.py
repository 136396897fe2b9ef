"""Lists of statements: the bodies of functions, blocks and branches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer.csl.sema.faults import Fault
from onewafer.csl.sema.runtime.dispatch import analyze
from onewafer.csl.sema.runtime.jumps import ends_elsewhere
from onewafer.csl.syntax import ast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl import ir
    from onewafer.csl.sema.instance.analyzer import Analyzer

_ASSERTION: Final = "comptime-assert"


def analyze_block(a: Analyzer, statements: Sequence[ast.Statement]) -> bool:
    """Analyse statements in order; a mistake in one does not stop the others.

    After a failed assertion, only further assertions are reported. Statements after an `if` or
    `switch` whose branch is chosen at compile time and leaves are not analysed, so that functions
    whose comptime arguments count down come to an end: `if (n == 0) return; f(n - 1);`.

    Returns:
        True if such a statement left the block.
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
        if is_decided and ends_elsewhere(emitted[start:]):
            return True
    return False


def _is_builtin(statement: ast.Statement) -> bool:
    return isinstance(statement, ast.ExpressionStatement) and isinstance(
        statement.expression, ast.BuiltinCall
    )


def _poison(a: Analyzer, statement: ast.Statement) -> None:
    match statement:
        case ast.Variable(name=name):
            a.names.declare(name, None)
        case _:
            pass


def nested(
    a: Analyzer, statement: ast.Statement, *, goes_on: bool = False
) -> tuple[ir.Statement, ...]:
    """Analyse a statement as a block of its own."""
    a.open_block(goes_on=goes_on)
    analyze_block(a, parts_of(statement))
    return a.close_block()


def parts_of(statement: ast.Statement) -> Sequence[ast.Statement]:
    """Return the statements of a block without a label; of any other statement, itself."""
    match statement:
        case ast.Block(statements=statements, label=None):
            return statements
        case _:
            return (statement,)


def analyze_in_scope(a: Analyzer, statements: Sequence[ast.Statement]) -> bool:
    """Analyse statements as `analyze_block` does, their names in a scope of their own."""
    a.names.open()
    leaves = analyze_block(a, statements)
    a.names.close()
    return leaves
