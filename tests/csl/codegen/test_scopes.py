"""Which block holds a local."""

from __future__ import annotations

from onewafer.csl import ir
from onewafer.csl.codegen.scopes import locals_of_blocks
from onewafer.csl.optimizer.unused import drop_unused
from onewafer.image import DsdOperation, OperandMode, ScalarType

ZERO = ir.Immediate(ScalarType.U16, 0)


def loop(*body: ir.Statement) -> ir.Loop:
    return ir.Loop(ir.Immediate(ScalarType.BOOL, 1), body, ())


def test_a_local_lives_where_it_is_set_first() -> None:
    local = ir.Local("x", ScalarType.U16)
    inner = loop(ir.SetLocal(local, ZERO))
    homes = locals_of_blocks(ir.Function("f", (), None, (inner,)))
    assert homes == {id(inner.body): [local]}


def test_a_value_carried_through_a_loop_lives_outside() -> None:
    local, other = (ir.Local(name, ScalarType.U16) for name in ("x", "other"))
    set_later = ir.If(ZERO, (ir.SetLocal(local, ZERO),), ())
    inner = loop(ir.SetLocal(other, ir.ReadLocal(local)), set_later)
    function = ir.Function("f", (), None, (inner,))
    homes = locals_of_blocks(function)
    assert homes == {id(inner.body): [other], id(function.body): [local]}


def test_a_local_of_two_blocks_lives_around_both() -> None:
    local = ir.Local("x", ScalarType.U16)
    both = ir.If(ZERO, (ir.SetLocal(local, ZERO),), (ir.SetLocal(local, ZERO),))
    function = ir.Function("f", (), None, (both,))
    assert locals_of_blocks(function) == {id(function.body): [local]}


def test_a_value_carried_through_loops_of_a_branch_lives_in_the_branch() -> None:
    local = ir.Local("x", ScalarType.U16)
    carries = loop(loop(ir.Evaluate(ir.Call(ir.Function("g", (), None, ()), ()))))
    set_later = ir.If(ir.ReadLocal(local), (ir.SetLocal(local, ZERO),), ())
    branch = ir.If(ZERO, (loop(loop(set_later)), carries), ())
    function = ir.Function("f", (), None, (branch,))
    assert locals_of_blocks(function) == {id(branch.then): [local]}


def operation(result: ir.Local) -> ir.DsdStatement:
    dest, source = (ir.Dsr(mode, 1) for mode in (OperandMode.DSR_DEST, OperandMode.DSR_SRC1))
    return ir.DsdStatement(DsdOperation.MOV16, dest, None, source, None, None, result=result)


def test_the_result_of_an_operation_lives_somewhere() -> None:
    local = ir.Local("result", ScalarType.BOOL)
    body = (operation(local), ir.If(ir.ReadLocal(local), (ir.Return(None),), ()))
    function = ir.Function("f", (), None, body)
    assert locals_of_blocks(function) == {id(function.body): [local]}


def test_a_result_that_nobody_reads_needs_no_register() -> None:
    (kept,) = drop_unused((operation(ir.Local("result", ScalarType.BOOL)),)).block
    assert isinstance(kept, ir.DsdStatement)
    assert kept.result is None
