"""Tensor access expressions: affine index expressions, taken apart into terms.

Shared by comptime and run-time evaluation: syntax is expanded to a sum of products here, each
product naming at most one induction variable; the evaluators evaluate the constant factors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.csl.sema.faults import fail
from onewafer.csl.syntax import ast

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Term:
    """`sign · factors…`, times induction variable `variable` unless that is None."""

    sign: int
    variable: int | None
    factors: tuple[ast.Expression, ...]


def expand(index: ast.Expression, variables: Sequence[str]) -> list[Term]:
    """Return an index expression as a sum of terms, or fail if it is not affine."""
    match index:
        case ast.Name(name=name) if name in variables:
            return [Term(1, variables.index(name), ())]
        case ast.Binary(operator=ast.BinaryOperator.ADD, left=left, right=right):
            return expand(left, variables) + expand(right, variables)
        case ast.Binary(operator=ast.BinaryOperator.SUBTRACT, left=left, right=right):
            return expand(left, variables) + _negate(expand(right, variables))
        case ast.Binary(operator=ast.BinaryOperator.MULTIPLY, left=left, right=right):
            if not _mentions(index, variables):
                return [Term(1, None, (index,))]
            return [
                _multiply(a, b, index)
                for a in expand(left, variables)
                for b in expand(right, variables)
            ]
        case ast.Unary(operator=ast.UnaryOperator.NEGATE, operand=operand):
            return _negate(expand(operand, variables))
        case _:
            if _mentions(index, variables):
                _not_affine(index)
            return [Term(1, None, (index,))]


def _negate(terms: list[Term]) -> list[Term]:
    return [Term(-term.sign, term.variable, term.factors) for term in terms]


def _multiply(a: Term, b: Term, index: ast.Expression) -> Term:
    if a.variable is not None and b.variable is not None:
        _not_affine(index)
    variable = a.variable if a.variable is not None else b.variable
    return Term(a.sign * b.sign, variable, a.factors + b.factors)


def _not_affine(index: ast.Expression) -> None:
    fail(
        "tensor-access",
        "a tensor access is a sum of induction variables times constants",
        index.span,
        help="write it as `|i|{n} -> a[2 * i + 1]`; anything else needs a loop",
    )


def _mentions(node: ast.Expression, variables: Sequence[str]) -> bool:
    match node:
        case ast.Name(name=name):
            return name in variables
        case ast.Binary(left=left, right=right):
            return _mentions(left, variables) or _mentions(right, variables)
        case ast.Unary(operand=operand) | ast.ComptimeExpression(operand=operand):
            return _mentions(operand, variables)
        case ast.Call(arguments=arguments) | ast.BuiltinCall(arguments=arguments):
            return any(_mentions(a, variables) for a in arguments)
        case ast.Index(base=base, indices=indices):
            return _mentions(base, variables) or any(_mentions(i, variables) for i in indices)
        case ast.Member(base=base) | ast.Dereference(base=base):
            return _mentions(base, variables)
        case ast.IfExpression(condition=condition, then=then, otherwise=otherwise):
            parts = (condition, then, *((otherwise,) if otherwise else ()))
            return any(_mentions(p, variables) for p in parts)
        case _:
            return False


def split_access(node: ast.TensorAccess) -> tuple[ast.Expression, tuple[ast.Expression, ...]]:
    """Return the array and the index expressions of a tensor access, or fail."""
    match node.access:
        case ast.Index(base=base, indices=indices):
            pass
        case _:
            fail(
                "tensor-access",
                "a tensor access names an array element after `->`",
                node.access.span,
                help="write `|i|{n} -> a[i]`",
            )
    if len(node.variables) != len(node.extents):
        fail(
            "tensor-access",
            f"{len(node.variables)} induction variables but {len(node.extents)} extents",
            node.span,
            help="give one extent in braces for each variable: `|i, j|{n, m} -> a[i, j]`",
        )
    return base, indices
