"""Programs that ask for more data structure registers than there are."""

from __future__ import annotations

from onewafer.csl import ir
from onewafer.csl.codegen import generate
from onewafer.diagnostics import DiagnosticSink
from onewafer.image import DsdDescriptor, DsdKind, DsdOperation, Opcode, OperandMode, ScalarType
from tests.csl.codegen.interpreters import ARCHITECTURE, instance

T = ScalarType


def test_one_mistake_is_reported_and_code_is_generated_all_the_same() -> None:
    x, i = ir.Global("x", 16, 4, T.U32, None), ir.Local("i", T.U16)
    dsd = ir.MakeDsd(
        DsdDescriptor(DsdKind.MEM1D),
        ir.AddressOf(x),
        ir.Immediate(T.U16, 4),
        ir.Immediate(T.I16, 1),
    )
    named = [ir.LoadDsr(ir.Dsr(OperandMode.DSR_SRC1, n), dsd) for n in range(ARCHITECTURE.num_dsrs)]
    copy = ir.DsdStatement(
        DsdOperation.MOV32, ir.Vector(dsd), None, ir.Vector(dsd), scalar=None, config=None
    )
    more = ir.Binary(Opcode.LESS, T.U16, ir.ReadLocal(i), ir.Immediate(T.U16, 3))
    body = (*named, ir.Loop(more, (copy,), ()), copy)
    sink = DiagnosticSink()
    generate(
        instance((ir.Function("main", (i,), None, body),), (x,)),
        ARCHITECTURE,
        uses_memcpy=True,
        sink=sink,
    )
    assert [finding.code for finding in sink.diagnostics] == ["too-many-dsrs"]
