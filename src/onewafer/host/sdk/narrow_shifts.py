"""Repair of host scripts that join 16-bit words to a time, as the SDK's examples do.

    def make_u48(words):
        return words[0] + (words[1] << 16) + (words[2] << 32)

With NumPy 1 such a shift had 64 bits; since NumPy 2 it has 16 and gives 0, and the time is silently
wrong. When a script makes an `SdkRuntime`, the functions defined so far are recompiled so that
shifts by at least the width of their number, and no other arithmetic, give the result of NumPy 1.
Shifts outside of functions cause a warning with their line.
"""

from __future__ import annotations
import __future__

import ast
import re
import sys
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

_SHIFT = re.compile(r"(\w+\[[12]\])\s*<<\s*(16|32)\b")
_COMMENT = re.compile(r"#.*")
_FIRST_NARROW = 2
"""The first version of NumPy with narrow shifts."""
_WIDER_SHIFT: Final = "__onewafer_shift"
_FUTURES = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
_BITS_OF_BYTE = 8


def mend_narrow_shifts() -> None:
    """Repair the shifts in functions of the running script; report them, and others, on stderr."""
    if int(np.__version__.partition(".")[0]) < _FIRST_NARROW:
        return
    main = sys.modules.get("__main__")
    name = getattr(main, "__file__", None)
    try:
        text = "" if name is None else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    if "uint16" not in text or _SHIFT.search(text) is None:
        return
    functions = [value for value in vars(main).values() if isinstance(value, FunctionType)]
    mended = _mend(text, str(name), functions)
    if mended:
        line = min(mended)
        sys.stderr.write(
            f"onewafer: note: {name}:{line}: `{mended[line]}` has 64 bits here, as with NumPy 1; "
            "NumPy 2 alone would give 0\n"
        )
    warning = find_narrow_shift(text, mended)
    if warning is not None:
        sys.stderr.write(f"onewafer: warning: {name}:{warning}\n")


def find_narrow_shift(text: str, mended: Container[int] = ()) -> str | None:
    r"""Return a warning about the first such shift of a script, with its line; None: there is none.

    Lines that were repaired are skipped.

    >>> script = "w = np.zeros(3).astype(np.uint16)\nt = w[0] + (w[1] << 16)"
    >>> print(find_narrow_shift(script).partition(";")[0])
    2: NumPy 2 computes `w[1] << 16` of 16-bit words in 16 bits, so that it is 0
    """
    if "uint16" not in text:
        return None
    for number, line in enumerate(_COMMENT.sub("", text).splitlines(), 1):
        found = _SHIFT.search(line)
        if found is not None and number not in mended:
            return (
                f"{number}: NumPy 2 computes `{found[0]}` of 16-bit words in 16 bits, so that it "
                f"is 0; write `int({found[1]}) << {found[2]}`, or install numpy<2"
            )
    return None


def shift(number: Any, places: Any) -> Any:  # noqa: ANN401  # whatever a script shifts
    """Return `number << places`, in 64 bits if all bits would be shifted out.

    >>> shift(np.uint16(3), 16), shift(np.uint16(3), 2), shift(3, 16)
    (np.int64(196608), np.uint16(12), 196608)
    """
    match number, places:
        case np.integer(nbytes=num_bytes), int() if num_bytes * _BITS_OF_BYTE <= places:
            return np.int64(int(cast("int", number))) << places
        case _:
            return number << places


def _mend(text: str, path: str, functions: Iterable[FunctionType]) -> dict[int, str]:
    """Recompile functions of a file; return line → source of the repaired shifts."""
    try:
        tree = ast.parse(text)
    except SyntaxError:  # the file was changed since
        return {}
    nodes = {node.lineno: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    mended: dict[int, str] = {}
    for function in functions:
        code = function.__code__
        node = nodes.get(code.co_firstlineno)
        if node is None or (code.co_filename, code.co_name) != (path, node.name):
            continue
        shifts = _Shifts()
        changed = ast.fix_missing_locations(shifts.visit(node))
        new = _code_of(ast.Module([changed], []), code)
        if new is not None and shifts.found:
            function.__globals__[_WIDER_SHIFT] = shift
            function.__code__ = new
            mended.update(shifts.found)
    return mended


def _code_of(module: ast.Module, old: CodeType) -> CodeType | None:
    """Return the code of a module's only function; None: it is not the function of the old code.

    That is so for a decorated function.
    """
    flags = old.co_flags & _FUTURES
    compiled = compile(module, old.co_filename, "exec", flags=flags, dont_inherit=True)
    return next(
        (
            constant
            for constant in compiled.co_consts
            if isinstance(constant, CodeType)
            and constant.co_varnames[: constant.co_argcount] == old.co_varnames[: old.co_argcount]
            and constant.co_freevars == old.co_freevars
        ),
        None,
    )


class _Shifts(ast.NodeTransformer):
    """Replaces shifts by a constant with calls of `shift`."""

    def __init__(self) -> None:
        self.found: dict[int, str] = {}

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:  # a name of `ast.NodeVisitor`
        """Replace a left shift by a constant."""
        written = ast.unparse(node)
        self.generic_visit(node)
        match node:
            case ast.BinOp(op=ast.LShift(), right=ast.Constant(value=int())):
                if isinstance(node.left, ast.Subscript):
                    self.found.setdefault(node.lineno, written)
                called = ast.Name(_WIDER_SHIFT, ast.Load())
                return ast.copy_location(ast.Call(called, [node.left, node.right], []), node)
            case _:
                return node
