"""The entry point of semantic analysis: from files and options to the typed program."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.layout import check_routes
from onewafer.csl.sema import types as t
from onewafer.csl.sema.closures import run_block
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.faults.names import list_params, suggest
from onewafer.csl.sema.instances import analyze_instances
from onewafer.csl.sema.layout.context import NO_PARAMS, LayoutContext, TileCode
from onewafer.csl.sema.modules.module import ModuleInstance
from onewafer.csl.sema.session import AnalysisOptions, ParsedFiles, Session, SourceCode
from onewafer.csl.sema.session.command_line import GivenParam
from onewafer.csl.sema.values import Scalar, Struct, Text, Value, boolean
from onewafer.csl.syntax import ast
from onewafer.diagnostics import Diagnostic, Severity

if TYPE_CHECKING:
    from collections.abc import Generator

    from onewafer.diagnostics import DiagnosticSink


_PYTHON_CALLS: Final = 6_000
"""Python's recursion limit: a comptime call takes about twenty, and `MAX_CALL_DEPTH` nest."""


@contextmanager
def _deep_recursion() -> Generator[None]:
    """Raise Python's recursion limit to `_PYTHON_CALLS` for nested closures."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _PYTHON_CALLS))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def analyze_program(
    options: AnalysisOptions, files: ParsedFiles, sink: DiagnosticSink
) -> ir.ProgramIr | None:
    """Analyse a program; None if there are errors, which are reported to `sink`."""
    session = Session(options, files, sink)
    try:
        with _deep_recursion():
            return _analyze(session)
    except Fault as fault:
        fault.report(sink)
    except RecursionError:
        sink.report(Diagnostic("nesting-too-deep", "comptime code nests too deeply"))
    return None


def _analyze(session: Session) -> ir.ProgramIr | None:
    context = _run_layout(session)
    if session.sink.has_errors:
        return None
    instances = analyze_instances(session, context)
    if not session.sink.has_errors:
        check_routes(context.table, session.sink)
    if session.sink.has_errors:
        return None
    return ir.ProgramIr(
        context.width,
        context.height,
        tuple(instances),
        context.table.configs,
        context.table.routes,
        tuple(context.exports.values()),
        context.export_spans,
        context.color_names,
    )


def _run_layout(session: Session) -> LayoutContext:
    options = session.options
    file = session.files.get(options.entry)
    if file is None:
        fail("import-not-found", f"there is no file `{options.entry}`", None)
    context = session.layout = LayoutContext(session)
    code = session.source_code(file)
    params = _entry_params(session, code)
    struct = Struct(tuple(params), tuple(params.values())) if params else NO_PARAMS
    context.entry = TileCode(0, 0, file, struct, None)
    if not code.layout_blocks:
        session.is_single_file = True
        context.set_rectangle(1, 1, None)
        context.tiles[0, 0] = context.entry
        return context
    if len(code.layout_blocks) > 1:
        fail("duplicate-declaration", "a file has one `layout` block", code.layout_blocks[1].span)
    module = ModuleInstance(context, code, params, "")
    block = code.layout_blocks[0]
    run_block(module, block.body)
    is_undecided = session.sink.has_errors and not context.tiles
    if not (context.runs_entry or is_undecided):  # else they are the PE's, or may be
        context.run_roots(module)
    context.run_pending()
    context.color_names = module.color_names()
    if not context.has_rectangle and not session.sink.has_errors:
        fail(
            "missing-rectangle",
            "the layout block does not set the rectangle",
            block.span,
            help="begin it with `@set_rectangle(width, height);`",
        )
    if not session.sink.has_errors:
        context.check_tile_code(block)
    return context


# --- params from the command line ----------------------------------------------------------------


def _entry_params(session: Session, code: SourceCode) -> dict[str, Value]:
    """Return the params of the entry file from `--params` and `--colors`."""
    declared = [n for n, d in code.declarations.items() if isinstance(d, ast.Param)]
    found: dict[str, Value] = {}
    for name, written in session.options.params.items():
        _check_declared(session, name, declared)
        found[name] = _parse_value(written)
    for name, written in session.options.colors.items():
        _check_declared(session, name, declared)
        number = _parse_value(written)
        count = session.architecture.num_colors
        if not isinstance(number, Scalar) or number.value not in range(count):
            given = GivenParam("colors", name, written)
            fail("id-out-of-range", f"`{given}`: a color is 0 … {count - 1}", None)
        found[name] = Scalar(t.COLOR, number.value)
    return found


def _check_declared(session: Session, name: str, declared: list[str]) -> None:
    if name not in declared:
        session.sink.report(
            Diagnostic(
                "unknown-param",
                f"`{session.options.entry}` has no param `{name}`",
                help=suggest(name, declared) or list_params(declared),
                severity=Severity.WARNING,
            )
        )


def _parse_value(written: str) -> Value:
    """Return an integer, float or bool written on the command line; else a string."""
    word = written.strip()
    if word in ("true", "false"):
        return boolean(word == "true")
    try:
        return Scalar(t.COMPTIME_INT, int(word, 0))
    except ValueError:
        pass
    try:
        return Scalar(t.COMPTIME_FLOAT, float(word))
    except ValueError:
        return Text(word.strip('"'))


__all__ = ["AnalysisOptions", "ParsedFiles", "analyze_program"]
