"""The builtins behind `<simprint>`: text and values for the host, and format strings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.builtins.values import text
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.registry import runtime_builtin
from onewafer.csl.sema.values import VOID_VALUE, Struct, Value, type_of
from onewafer.image import PrintForm, ScalarType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.registry import Site
    from onewafer.diagnostics import Span

_INTEGERS: Final = (t.U16, t.U32)
_FLOATS: Final = (*t.HALVES, t.F32)
_FORMS: Final = {
    "d": (PrintForm.DECIMAL, _INTEGERS),
    "X": (PrintForm.HEXADECIMAL, _INTEGERS),
    "b": (PrintForm.BINARY, _INTEGERS),
    "f": (PrintForm.FLOAT, _FLOATS),
}
"""Letter of a format string: the form of the output, and the allowed types."""
_PIECES: Final = re.compile(r"(\{\{)|\{([^{}]*)\}|(\{)|([^{]+)")
"""An escaped brace, a specifier, a brace that is never closed, or plain text."""


@runtime_builtin("print_text", 1, is_internal=True)
def print_text(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Print a string that is known while compiling, up to its first NUL."""
    _emit_text(a, text(args[0], site.argument_spans[0], "the text"), site.span)
    return VOID_VALUE


@runtime_builtin("print_value", 2, is_internal=True)
def print_value(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Print a value in the form of a format letter."""
    letter = text(args[0], site.argument_spans[0], "the form")
    _emit_value(a, letter, args[1], site.span)
    return VOID_VALUE


@runtime_builtin("print_format", 2, is_internal=True)
def print_format(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Print a format string, `{d}`, `{X}`, `{b}` and `{f}` replaced by the fields of a tuple."""
    template = text(args[0], site.argument_spans[0], "the format string")
    match args[1]:
        case Struct(None | (), fields):
            values = list(fields)
        case _:
            fail(
                "type-mismatch",
                f"the values of a format string are a tuple, this is a `{type_of(args[1])}`",
                site.span,
                help="write `.{ first, second }`",
            )
    letters = [letter for _, letter, _, _ in _PIECES.findall(template) if letter]
    if len(letters) != len(values):
        fail(
            "wrong-argument-count",
            f"the format string has {len(letters)} specifier(s), {len(values)} value(s) are given",
            site.span,
        )
    for escaped, letter, unclosed, plain in _PIECES.findall(template):
        if letter:
            _emit_value(a, letter, values.pop(0), site.span)
        elif unclosed or not (escaped or plain):
            fail(
                "type-mismatch",
                f"the format string {template!r} has a `{{` that begins no specifier",
                site.span,
                help="write `{{` for the character itself",
            )
        else:
            _emit_text(a, "{" if escaped else plain, site.span)
    return VOID_VALUE


def _emit_text(a: Analyzer, string: str, span: Span) -> None:
    a.emit(ir.Print(PrintForm.TEXT, ScalarType.U8, None, string.split("\0", 1)[0], span))


def _emit_value(a: Analyzer, letter: str, value: Value, span: Span) -> None:
    if letter not in _FORMS:
        fail(
            "type-mismatch",
            f"there is no format specifier `{{{letter}}}`",
            span,
            help="there are `{d}`, `{X}`, `{b}` and `{f}`",
        )
    form, types = _FORMS[letter]
    type_ = type_of(value)
    held = t.scalar_type(type_)
    if type_ not in types or held is None:
        wanted = " or ".join(f"`{each}`" for each in types)
        fail("type-mismatch", f"`{{{letter}}}` prints a {wanted}, this is a `{type_}`", span)
    a.emit(ir.Print(form, held, a.expression(value, span), span=span))
