"""Host scripts that put a time together out of 16-bit words, as the SDK's examples do.

    def make_u48(words):
        return words[0] + (words[1] << 16) + (words[2] << 32)

With NumPy 1 a shift of such a word had 64 bits; since NumPy 2 it has 16 and gives 0, and the time
is wrong without a word. A shift by at least the width of its number can mean nothing else, so the
functions that a script has defined when it makes an `SdkRuntime` get code in which these shifts,
and no other arithmetic, give what NumPy 1 gave. Shifts elsewhere are warned of, with their line.
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
"""Version of NumPy."""
_WIDER_SHIFT: Final = "__onewafer_shift"
_FUTURES = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
_BITS_OF_BYTE = 8


def mend_narrow_shifts() -> None:
    """Mend the shifts in functions of the running script; say on stderr which, and what is left."""
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
    r"""Return the first line of a script with such a shift and what is wrong with it, if any.

    Lines that were mended are passed over.

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
    """Return `number << places`; where NumPy 2 shifts every bit out, what NumPy 1 gave.

    >>> shift(np.uint16(3), 16), shift(np.uint16(3), 2), shift(3, 16)
    (np.int64(196608), np.uint16(12), 196608)
    """
    match number, places:
        case np.integer(nbytes=num_bytes), int() if num_bytes * _BITS_OF_BYTE <= places:
            return np.int64(int(cast("int", number))) << places
        case _:
            return number << places


def _mend(text: str, path: str, functions: Iterable[FunctionType]) -> dict[int, str]:
    """Give functions of a file new code; return the shifts in it by line."""
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
    """Return the code of the only function of a module; None if it is another function than before.

    A decorator would have put another function in its place.
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
    """Replaces shifts by a call, all that may shift every bit of a narrow number out."""

    def __init__(self) -> None:
        self.found: dict[int, str] = {}

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:  # the name says the node
        """Replace a shift by a known number of places."""
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
