"""`@export_name` against `@export_symbol`: names exported by the layout must exist on PEs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from onewafer.csl import ir
from onewafer.csl.codegen.memory_plan import describe_pes
from onewafer.diagnostics import Annotation, Diagnostic, Severity
from onewafer.image import ScalarType, SymbolKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.diagnostics import DiagnosticSink, Span
    from onewafer.image import Export


def check_exports(program: ir.ProgramIr, sink: DiagnosticSink) -> None:
    """Report `export-missing`, `export-undeclared` and `export-mismatch`, once for every name.

    A function should exist on every PE, because the host launches it everywhere; a variable, on
    one. A missing name is a warning: SDK programs declare names that their hosts never use.
    """
    declared = {export.name: export for export in program.exports}
    wrong: set[str] = set()
    for instance in program.instances:
        for symbol in instance.exports:
            problem = _find_problem(symbol, declared.get(symbol.name))
            if problem is not None and symbol.name not in wrong:
                wrong.add(symbol.name)
                sink.report(problem)
    for export in program.exports:
        without = [i for i in program.instances if all(s.name != export.name for s in i.exports)]
        is_function = export.kind is SymbolKind.FUNCTION
        if without and (is_function or len(without) == len(program.instances)):
            span = program.export_spans.get(export.name)
            sink.report(_missing(export, without[0], span))


def bound_exports(program: ir.ProgramIr) -> tuple[Export, ...]:
    """Return the names that the host can use: those that a PE exports."""
    bound = {symbol.name for instance in program.instances for symbol in instance.exports}
    return tuple(export for export in program.exports if export.name in bound)


def with_missing_functions(program: ir.ProgramIr) -> ir.ProgramIr:
    """Add a stub for each function that some PEs export and others lack.

    Launching the stub is an error.
    """
    functions = [e for e in bound_exports(program) if e.kind is SymbolKind.FUNCTION]
    return replace(
        program, instances=tuple(_with_missing(each, functions) for each in program.instances)
    )


def _with_missing(instance: ir.InstanceIr, functions: Sequence[Export]) -> ir.InstanceIr:
    own = {symbol.name for symbol in instance.exports}
    missing = [_stand_in(export) for export in functions if export.name not in own]
    if not missing:
        return instance
    exports = [ir.ExportedSymbol(function.name, function) for function in missing]
    return replace(
        instance,
        functions=(*instance.functions, *missing),
        exports=(*instance.exports, *exports),
    )


def _stand_in(export: Export) -> ir.Function:
    """Return a stub function that stops the simulation."""
    message = f"the host launched `{export.name}`, which the program of this PE does not export"
    parameters = tuple(ir.Local(f"p{i}", type_) for i, type_ in enumerate(export.argument_types))
    stop = ir.Trap(ir.Immediate(ScalarType.BOOL, 0), message)
    return ir.Function(export.name, parameters, None, (stop,))


def _missing(export: Export, instance: ir.InstanceIr, span: Span | None) -> Diagnostic:
    is_function = export.kind is SymbolKind.FUNCTION
    reason = (
        "the host launches a function on every PE: a launch of this one ends with an error"
        if is_function
        else "no other PE exports it either: the host does not find it"
    )
    return Diagnostic(
        "export-missing",
        f"`{export.name}` is declared with `@export_name`, and "
        f"{describe_pes(instance.pes)} {'do' if len(instance.pes) > 1 else 'does'} not export it",
        Annotation(span) if span is not None else None,
        notes=(f"in {instance.name}", reason),
        help=f'write `comptime {{ @export_symbol(…, "{export.name}"); }}` in that program',
        severity=Severity.WARNING,
    )


def _find_problem(symbol: ir.ExportedSymbol, export: Export | None) -> Diagnostic | None:
    annotation = Annotation(symbol.span) if symbol.span else None
    if export is None:
        return Diagnostic(
            "export-undeclared",
            f"`{symbol.name}` is exported, and the layout does not declare it",
            annotation,
            help=f'write `@export_name("{symbol.name}", …);` in the layout block',
        )
    mismatch = _mismatch(symbol.target, export)
    if mismatch is None:
        return None
    declared, exported = mismatch
    return Diagnostic(
        "export-mismatch",
        f"`{symbol.name}` is declared as {declared}, and the symbol is {exported}",
        annotation,
        help="give `@export_name` the type of the symbol",
    )


def _mismatch(target: ir.Function | ir.AddressOf, export: Export) -> tuple[str, str] | None:
    """Return how the layout and the PE describe the symbol, if they disagree."""
    match target:
        case ir.Function() as function:
            exported = _signature(tuple(p.type for p in function.parameters))
            if export.kind is SymbolKind.VARIABLE:
                return "a variable", f"the function `{exported}`"
            declared = _signature(export.argument_types)
            return None if declared == exported else (f"`{declared}`", f"`{exported}`")
        case ir.AddressOf(variable=variable):
            element = variable.element
            if export.kind is SymbolKind.FUNCTION:
                return "a function", f"the variable `{variable.name}`"
            # Pointers have no element type here; the host goes through them by the declared one.
            if element is None or export.element is None or element is export.element:
                return None
            declared, exported = export.element.name.lower(), element.name.lower()
            return f"elements of `{declared}`", f"of `{exported}`"
    assert_never(target)


def _signature(types: tuple[ir.ValueType, ...]) -> str:
    return f"fn ({', '.join(type_.name.lower() for type_ in types)})"
