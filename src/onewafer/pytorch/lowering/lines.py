"""The user's line, and the expression in it, that an operation of a captured graph comes from."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, cast

from onewafer.errors import SourceLine
from onewafer.pytorch.places import Owner, nodes_of, owner_of

if TYPE_CHECKING:
    from torch.fx import Node

_FRAME = re.compile(r'File "([^"]*)", line (\d+), in [^\n]*\n\s*([^\n]*)')
_LONGEST = 72
"""Characters of an expression that is quoted."""
_OPERATORS: dict[str, type[ast.operator | ast.unaryop]] = {
    "add": ast.Add,
    "sub": ast.Sub,
    "mul": ast.Mult,
    "div": ast.Div,
    "pow": ast.Pow,
    "matmul": ast.MatMult,
    "mm": ast.MatMult,
    "bmm": ast.MatMult,
    "neg": ast.USub,
    "remainder": ast.Mod,
    "floor_divide": ast.FloorDiv,
}
_SUBSCRIPTS = frozenset({"slice", "select", "index", "index_put"})


def name_of(operation: object) -> str:
    """Return what users call an operation of ATen, or a function of Python.

    >>> name_of("aten.add.Tensor"), name_of("aten._softmax.default"), name_of(len)
    ('add', 'softmax', 'len')
    """
    if isinstance(operation, FunctionType | BuiltinFunctionType):
        return operation.__name__.strip("_")
    parts = str(operation).split(".")
    return parts[1 if len(parts) > 1 else 0].strip("_").removeprefix("native_")


@dataclass(frozen=True, slots=True)
class Trace:
    """Where an operation comes from, as PyTorch has written it down."""

    operation: str
    """The user's name for it."""
    frames: str
    """The text of a traceback."""

    def line(self) -> SourceLine | None:
        """Return the innermost line that is neither PyTorch's nor ours, if there is one."""
        found = self.innermost()
        if found is None:
            return None
        expression = _expression(found.file, found.number, self.operation) or found.code
        if len(expression) > _LONGEST:
            expression = f"{expression[:_LONGEST]}…"
        return replace(found, code=expression)

    def innermost(self) -> SourceLine | None:
        """Return that line with all of its code, without reading the file."""
        frames = cast("list[tuple[str, str, str]]", _FRAME.findall(self.frames))
        for file, number, code in reversed(frames):
            if owner_of(file) is not Owner.HIDDEN:
                return SourceLine(file, int(number), code.strip())
        return None


def trace_of(node: Node) -> Trace | None:
    """Return where a call of an exported graph comes from, if PyTorch knows."""
    frames = node.meta.get("stack_trace")
    return Trace(name_of(node.target), frames) if isinstance(frames, str) else None


def line_of(node: Node) -> SourceLine | None:
    """Return the user's line that a call of an exported graph comes from, if it is known."""
    trace = trace_of(node)
    return None if trace is None else trace.line()


def _expression(file: str, number: int, operation: str) -> str | None:
    """Return the one expression on a line that an operation can come from, if it is one."""
    found = [
        expression
        for expression in nodes_of(file)
        if isinstance(expression, ast.expr)
        and expression.lineno <= number <= (expression.end_lineno or number)
        and _is_call_of(expression, operation)
    ]
    return _quote(found[0]) if len(found) == 1 else None


def _is_call_of(expression: ast.expr, operation: str) -> bool:
    match expression:
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            return name.strip("_") == operation
        case ast.BinOp(op=operator) | ast.UnaryOp(op=operator):
            return type(operator) is _OPERATORS.get(operation)
        case ast.Subscript():
            return operation in _SUBSCRIPTS
        case _:
            return False


def _quote(expression: ast.expr) -> str:
    """Return the text of an expression, without the arguments of calls where it is long."""
    text = ast.unparse(expression)
    if len(text) <= _LONGEST:
        return text
    return ast.unparse(_Shortened().visit(ast.parse(text, mode="eval")))


class _Shortened(ast.NodeTransformer):
    """Leaves out the arguments of calls."""

    def visit_Call(self, node: ast.Call) -> ast.Call:  # the name that ast asks for
        """Return the call of the same function with three dots."""
        return ast.Call(self.visit(node.func), [ast.Name("…")], [])
