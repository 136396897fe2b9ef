"""Expressions of filters and of `--where`: arithmetic and comparisons of names and numbers.

    sram >= need and batch * context <= 65536

They are read as Python writes them; names stand for values, and nothing is called or looked up.
"""

from __future__ import annotations

import ast
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onewafer.errors import ConfigurationError
from onewafer.sweep.inputs.names import unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_MOST_CHARACTERS = 1_000
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda one, other: one / other,
    ast.FloorDiv: lambda one, other: one // other,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition that a point meets or does not."""

    text: str
    names: frozenset[str]
    """The names in it."""
    root: ast.expr

    def holds(self, values: Mapping[str, object]) -> bool:
        """Tell whether the condition holds for values by name; a missing one makes it false.

        Raises ConfigurationError if it cannot be worked out, as a text times a text.
        """
        if any(values.get(name) is None for name in self.names):
            return False
        try:
            return bool(_value(self.root, values))
        except (TypeError, ZeroDivisionError, OverflowError) as error:
            said = ", ".join(f"{name} = {values[name]!r}" for name in sorted(self.names))
            raise ConfigurationError(f"{self.text!r} with {said}: {error}") from None


def parse(text: str, *, where: str) -> Expression:
    """Return an expression.

    Raises ConfigurationError for syntax that an expression may not have.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ConfigurationError(
            f"{where}: a condition has {_MOST_CHARACTERS:,} characters at most"
        )
    try:
        root = ast.parse(" ".join(text.split()), mode="eval").body
        names = frozenset(_check(root))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConfigurationError(
            f'{where}: {text!r} is no condition; write one as in "sram >= 49152 and batch < 64"'
        ) from None
    return Expression(text, names, root)


def check_names(expression: Expression, names: Collection[str], *, where: str) -> None:
    """Raise ConfigurationError for a name that has no value in a study."""
    for name in sorted(expression.names):
        if name not in names:
            raise unknown(f"value for {where} {expression.text!r}:", name, names)


def _check(node: ast.expr) -> list[str]:
    """Return the names of an expression; raise ValueError for syntax that is not allowed."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str()):
            return []
        case ast.Name(id=name):
            return [name]
        case ast.Attribute():
            return [_dotted(node)]
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            return _check(operand)
        case ast.BoolOp(values=values):
            return [name for value in values for name in _check(value)]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _check(left) + _check(right)
        case ast.Compare(left=left, ops=ops, comparators=others) if all(
            type(op) in _COMPARISONS for op in ops
        ):
            return [name for value in (left, *others) for name in _check(value)]
        case _:
            raise ValueError(type(node).__name__)


def _dotted(node: ast.expr) -> str:
    """Return a dotted name, `params.n`."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{_dotted(value)}.{name}"
        case _:
            raise ValueError(type(node).__name__)


def _value(node: ast.expr, values: Mapping[str, object]) -> Any:  # noqa: ANN401  # as it comes out
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name() | ast.Attribute():
            return values[_dotted(node)]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, values)
        case ast.UnaryOp(operand=operand):
            return -_value(operand, values)
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(part, values) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_value(part, values) for part in parts)
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](*(_number(_value(part, values)) for part in (left, right)))
        case ast.Compare(left=left, ops=ops, comparators=others):
            operands = [_value(part, values) for part in (left, *others)]
            pairs = zip(ops, operands, operands[1:], strict=False)
            return all(_COMPARISONS[type(op)](one, other) for op, one, other in pairs)
        case _:
            raise AssertionError(type(node))


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value
