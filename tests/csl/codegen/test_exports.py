"""`@export_name` against `@export_symbol`."""

from __future__ import annotations

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.csl import CompileOptions, MemoryFiles, compile_program, ir
from onewafer.csl.codegen import check_exports
from onewafer.csl.driver import run_stages
from onewafer.diagnostics import DiagnosticSink, Severity, SourceFile, Span
from onewafer.errors import SimulationError
from onewafer.image import Export, ScalarType, SymbolKind
from onewafer.simulator import Machine
from tests.csl.codegen.interpreters import instance

F32, U16 = ScalarType.F32, ScalarType.U16
ARRAY = ir.Global("a", 16, 4, F32, None)
POINTER = ir.Global("p", 2, 2, None, None)
LAUNCHED = ir.Function("f", (ir.Local("n", U16),), None)


def findings(exports: list[Export], *symbols: list[ir.ExportedSymbol]) -> list[tuple[str, str]]:
    sink = DiagnosticSink()
    instances = tuple(instance((), exports=s, pes=((i, 0),)) for i, s in enumerate(symbols))
    table = np.full((1, len(symbols), 24), -1, dtype=np.int16)
    check_exports(ir.ProgramIr(len(symbols), 1, instances, (), table, tuple(exports)), sink)
    return [(d.code, d.message) for d in sink.diagnostics]


def variable(name: str, element: ScalarType) -> Export:
    return Export(name, SymbolKind.VARIABLE, element, is_mutable=True)


def function(name: str, *arguments: ScalarType) -> Export:
    return Export(name, SymbolKind.FUNCTION, None, is_mutable=False, argument_types=arguments)


def symbol(name: str, target: ir.Function | ir.Global) -> ir.ExportedSymbol:
    return ir.ExportedSymbol(
        name, target if isinstance(target, ir.Function) else ir.AddressOf(target)
    )


def test_matching_exports_are_silent() -> None:
    exports = [variable("a", F32), variable("p", F32), function("f", U16)]
    assert (
        findings(exports, [symbol("a", ARRAY), symbol("p", POINTER), symbol("f", LAUNCHED)]) == []
    )


def test_a_variable_may_live_on_some_pes_only() -> None:
    assert findings([variable("a", F32)], [symbol("a", ARRAY)], []) == []


def test_a_function_that_a_pe_does_not_export_is_a_warning() -> None:
    ((code, message),) = findings([function("f", U16)], [symbol("f", LAUNCHED)], [])
    assert code == "export-missing"
    assert "PE (1, 0) does not export it" in message


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_only_a_launch_of_a_missing_function_is_an_error(engine: str) -> None:
    files = {
        "layout.csl": (
            "layout {\n  @set_rectangle(2, 1);\n"
            '  @set_tile_code(0, 0, "has_it.csl", .{});\n'
            '  @set_tile_code(1, 0, "has_not.csl", .{});\n'
            '  @export_name("f", fn(f32)void);\n}\n'
        ),
        "has_it.csl": "var x: f32;\nfn f(n: f32) void { x = n; }\ncomptime { @export_symbol(f); }",
        "has_not.csl": "var x: f32;\nfn f(n: f32) void { x = n; }",
    }
    sink, machine = DiagnosticSink(), load_architecture("wse3")
    options = CompileOptions(entry="layout.csl", architecture=machine, uses_memcpy=False)
    image = compile_program(options, MemoryFiles(files), sink=sink)
    assert [(d.code, d.severity) for d in sink.diagnostics] == [
        ("export-missing", Severity.WARNING)
    ]
    running = Machine(image, machine, engine=engine)
    running.run()
    running.launch("f", [0])
    with pytest.raises(SimulationError, match=r"PE \(1, 0\).*launched `f`, which the program"):
        running.run()


def test_a_missing_symbol_is_shown_where_the_layout_declares_it() -> None:
    sink, span = DiagnosticSink(), Span(SourceFile("layout.csl", "@export_name"), 0, 12)
    table = np.full((1, 1, 24), -1, dtype=np.int16)
    program = ir.ProgramIr(
        1, 1, (instance((), pes=((0, 0),)),), (), table, (function("f"),), {"f": span}
    )
    check_exports(program, sink)
    (found,) = sink.diagnostics
    assert found.primary is not None
    assert found.primary.span is span


def test_a_variable_that_no_pe_exports_is_a_warning() -> None:
    """The image does not have it, so that a host that asks for it is told."""
    sources = {
        "layout.csl": 'layout { @set_rectangle(1, 1); @set_tile_code(0, 0, "pe.csl", .{}); '
        '@export_name("a", [*]f32, true); @export_name("b", [*]f32, true); }',
        "pe.csl": 'var x: [1]f32; var p: [*]f32 = &x; comptime { @export_symbol(p, "b"); }',
    }
    wse3 = load_architecture("wse3")
    options = CompileOptions(entry="layout.csl", architecture=wse3, uses_memcpy=False)
    sink = DiagnosticSink()
    image = run_stages(options, MemoryFiles(sources), sink).image
    found = [(d.code, d.severity) for d in sink.diagnostics]
    assert found == [("export-missing", Severity.WARNING)]
    assert image is not None
    assert [export.name for export in image.exports] == ["b"]


def test_a_symbol_that_the_layout_does_not_declare_is_reported() -> None:
    ((code, message),) = findings([], [symbol("a", ARRAY)])
    assert code == "export-undeclared"
    assert "`a`" in message


@pytest.mark.parametrize(
    ("export", "target", "said"),
    [
        (variable("s", U16), ARRAY, "declared as elements of `u16`, and the symbol is of `f32`"),
        (variable("s", U16), LAUNCHED, "declared as a variable, and the symbol is the function"),
        (function("s"), ARRAY, "declared as a function, and the symbol is the variable `a`"),
        (function("s", F32), LAUNCHED, "`fn (f32)`, and the symbol is `fn (u16)`"),
    ],
)
def test_different_types_are_both_shown(
    export: Export, target: ir.Function | ir.Global, said: str
) -> None:
    ((code, message),) = findings([export], [symbol("s", target)])
    assert code == "export-mismatch"
    assert said in message


def test_two_pointers_may_lead_to_one_place_in_an_array() -> None:
    files = {
        "layout.csl": (
            "layout {\n  @set_rectangle(1, 1);\n"
            '  @set_tile_code(0, 0, "pe.csl", .{});\n'
            '  @export_name("input", [*]f32, true);\n'
            '  @export_name("output", [*]f32, true);\n}\n'
        ),
        "pe.csl": (
            "var memory = @zeros([8]f32);\n"
            "const input: [*]f32 = @ptrcast([*]f32, &memory[1]);\n"
            "const output: [*]f32 = @ptrcast([*]f32, &memory[1]);\n"
            "comptime {\n  @export_symbol(input);\n  @export_symbol(output);\n}\n"
        ),
    }
    options = CompileOptions(entry="layout.csl", architecture=load_architecture("wse3"))
    image = compile_program(options, MemoryFiles(files))
    (program,) = image.programs
    assert [s.num_bytes for s in program.symbols if "+" in s.name] == [28]
