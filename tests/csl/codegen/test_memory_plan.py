"""Addresses, the budget, and what an over-full PE is told."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from onewafer.csl import ir
from onewafer.csl.codegen import MemoryPlan, generate, plan_memory
from onewafer.diagnostics import DiagnosticSink, SourceFile, Span
from onewafer.image import ScalarType, Section, SectionKind
from tests.csl.codegen.interpreters import ARCHITECTURE, instance

MAIN = ir.Function("main", (), None, ())


def variable(name: str, num_bytes: int, alignment: int) -> ir.Global:
    return ir.Global(name, num_bytes, alignment, ScalarType.U16, None)


def plan(one: ir.InstanceIr, sink: DiagnosticSink, *, uses_memcpy: bool = True) -> MemoryPlan:
    objects = generate(one, ARCHITECTURE, uses_memcpy=uses_memcpy, sink=sink)
    return plan_memory(objects, ARCHITECTURE, uses_memcpy=uses_memcpy, sink=sink)


def test_sections_follow_each_other_without_overlap() -> None:
    sections = plan(instance((MAIN,), (variable("x", 10, 2),)), DiagnosticSink()).sections
    assert [s.kind for s in sections] == list(SectionKind)
    assert sections[0] == Section(SectionKind.RUNTIME, 0, ARCHITECTURE.runtime_bytes)
    for before, after in pairwise(sections):
        assert before.address + before.num_bytes <= after.address


def test_without_memcpy_nothing_is_reserved() -> None:
    sections = plan(instance((MAIN,)), DiagnosticSink(), uses_memcpy=False).sections
    assert sections[0].kind is SectionKind.CODE
    assert sections[0].address == 0


def test_the_largest_alignment_comes_first_and_order_is_kept_within_it() -> None:
    names = {"a": (3, 1), "b": (4, 2), "c": (16, 16), "d": (2, 2), "e": (1, 1)}
    variables = tuple(variable(name, *size) for name, size in names.items())
    addresses = plan(instance((MAIN,), variables), DiagnosticSink()).addresses
    ordered = sorted(addresses, key=lambda v: addresses[v])
    assert [v.name for v in ordered] == ["c", "b", "d", "a", "e"]
    assert all(addresses[v] % v.alignment == 0 for v in variables)


def test_variables_of_a_module_lie_as_they_are_declared() -> None:
    source = SourceFile("a.csl", "x y z")
    used = [("a.z", 4), ("b.y", 2), ("a.x", 0), ("b.x", 0), ("a.y", 2)]
    variables = tuple(
        replace(variable(name, 2, 2), span=Span(source, start, start + 1)) for name, start in used
    )
    addresses = plan(instance((MAIN,), variables), DiagnosticSink()).addresses
    ordered = sorted(addresses, key=lambda v: addresses[v])
    assert [v.name for v in ordered] == ["a.x", "a.y", "a.z", "b.x", "b.y"]


def test_variables_of_one_name_are_told_apart() -> None:
    variables = tuple(variable("x", 2, 2) for _ in range(3))
    names = plan(instance((MAIN,), variables), DiagnosticSink()).names
    assert [names[v] for v in variables] == ["x", "x.2", "x.3"]


def test_a_program_that_is_too_large_names_pes_bytes_and_symbols() -> None:
    sink = DiagnosticSink()
    one = instance((MAIN,), (variable("small", 10, 2), variable("large", 48_000, 2)))
    plan(replace(one, pes=tuple((x, 1) for x in range(5))), sink)
    (finding,) = sink.diagnostics
    assert finding.code == "program-too-large"
    assert "PEs (0, 1), (1, 1), (2, 1) and 2 more" in finding.message
    assert "49,152 B" in finding.message
    assert any("large 48,000 B, small 10 B" in note for note in finding.notes)


def test_frames_of_functions_that_never_run_together_overlap() -> None:
    leaf = ir.Function("leaf", (ir.Local("a", ScalarType.U16),), None, ())
    first, second = (
        ir.Function(
            name, (), None, (ir.Evaluate(ir.Call(leaf, (ir.Immediate(ScalarType.U16, 7),))),)
        )
        for name in ("first", "second")
    )
    found = plan(instance((first, second, leaf)), DiagnosticSink())
    assert found.frames[first] == found.frames[second] == 1
    assert found.frames[leaf] == 1
    assert found.num_registers == 2


def test_a_callee_stays_clear_of_the_frames_of_its_callers() -> None:
    leaf = ir.Function("leaf", (ir.Local("a", ScalarType.U16),), None, ())
    parameter = ir.Local("p", ScalarType.U16)
    caller = ir.Function(
        "caller", (parameter,), None, (ir.Evaluate(ir.Call(leaf, (ir.ReadLocal(parameter),))),)
    )
    found = plan(instance((leaf, caller)), DiagnosticSink())
    assert found.frames[caller] == 1
    assert found.frames[leaf] == 2
