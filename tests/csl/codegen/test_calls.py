"""Arguments and results of calls arrive, whatever the frames of the callees share."""

from __future__ import annotations

from onewafer.csl import ir
from onewafer.image import DsdDescriptor, DsdKind, Opcode, OperandMode, ScalarType
from tests.csl.codegen.interpreters import check, instance

Op, T = Opcode, ScalarType
X = ir.Global("x", 64, 4, T.U16, None, [ir.Datum(2 * i, T.U16, i + 1) for i in range(32)])
N = ir.Global("n", 2, 2, T.U16, None)
OUT = ir.Global("out", 8, 2, T.U16, None)
DSD = ir.MakeDsd(
    DsdDescriptor(DsdKind.MEM1D),
    ir.AddressOf(X),
    ir.Immediate(T.U16, 4),
    ir.Immediate(T.I16, 1),
)
TARGET = ir.Dsr(OperandMode.DSR_SRC1, 3)


def imm(value: int) -> ir.Immediate:
    return ir.Immediate(T.U16, value)


def load(variable: ir.Global) -> ir.Load:
    return ir.Load(T.U16, ir.AddressOf(variable))


def bump(result: int) -> ir.Function:
    """A function that sets `n` to 5."""
    return ir.Function(
        "bump", (), T.U16, (ir.Store(T.U16, ir.AddressOf(N), 0, imm(5)), ir.Return(imm(result)))
    )


def main(*body: ir.Statement) -> ir.Function:
    return ir.Function("main", (), None, body)


def test_an_argument_is_read_before_a_later_one_changes_it() -> None:
    a, b = ir.Local("a", T.U16), ir.Local("b", T.U16)
    tens = ir.Binary(Op.MUL, T.U16, ir.ReadLocal(a), imm(10))
    digits = ir.Function(
        "digits",
        (a, b),
        T.U16,
        (ir.Return(ir.Binary(Op.ADD, T.U16, tens, ir.ReadLocal(b))),),
    )
    bumping = bump(2)
    call = ir.Call(digits, (load(N), ir.Call(bumping, ())))
    caller = main(ir.Store(T.U16, ir.AddressOf(OUT), 0, call))
    check(instance((caller, digits, bumping), (X, N, OUT)))


def test_an_element_is_found_before_the_value_is_computed() -> None:
    bumping = bump(2)
    place = ir.Binary(Op.ADD, T.U16, ir.AddressOf(OUT), load(N))
    caller = main(ir.Store(T.U16, place, 0, ir.Call(bumping, ())))
    check(instance((caller, bumping), (X, N, OUT)))


def test_a_dsd_result_becomes_an_argument_one_register_further_on() -> None:
    k, d = ir.Local("k", T.U16), ir.Local("d", ir.DSD)
    moved = ir.Function(
        "moved",
        (k,),
        ir.DSD,
        (ir.Return(ir.UpdateDsd(ir.DsdUpdate.ADVANCE, DSD, ir.ReadLocal(k), 2)),),
    )
    use = ir.Function("use", (d,), T.U16, (ir.LoadDsr(TARGET, ir.ReadLocal(d)), ir.Return(imm(1))))
    call = ir.Call(use, (ir.Call(moved, (imm(3),)),))
    caller = main(ir.Store(T.U16, ir.AddressOf(OUT), 0, call))
    check(instance((caller, moved, use), (X, N, OUT)))


def test_a_dsd_argument_is_put_together_from_results() -> None:
    d = ir.Local("d", ir.DSD)
    bumping = bump(2)
    use = ir.Function("use", (d,), None, (ir.LoadDsr(TARGET, ir.ReadLocal(d)),))
    shorter = ir.UpdateDsd(ir.DsdUpdate.LENGTH, DSD, ir.Call(bumping, ()))
    further = ir.UpdateDsd(ir.DsdUpdate.ADVANCE, shorter, ir.Call(bumping, ()), 2)
    caller = main(ir.Evaluate(ir.Call(use, (further,))))
    check(instance((caller, use, bumping), (X, N, OUT)))
