"""A value that is there is not loaded again, and one that may have changed is."""

from __future__ import annotations

import pytest

from onewafer.csl import ir
from onewafer.csl.ir import walk
from onewafer.csl.optimizer.forward import forward
from onewafer.image import DsdDescriptor, DsdKind, DsdOperation, Opcode, ScalarType
from tests.csl.codegen.interpreters import check, instance

Op, T = Opcode, ScalarType


def number(name: str, **options: bool) -> ir.Global:
    return ir.Global(name, 4, 4, T.U16, None, [ir.Datum(0, T.U16, 3)], **options)


N, M, OUT = number("n"), number("m"), ir.Global("out", 32, 4, T.U16, None)


def imm(value: int) -> ir.Immediate:
    return ir.Immediate(T.U16, value)


def load(variable: ir.Global = N, type_: ScalarType = T.U16, offset: int = 0) -> ir.Load:
    return ir.Load(type_, ir.AddressOf(variable), offset)


def store(value: ir.Expression, variable: ir.Global = N, offset: int = 0) -> ir.Store:
    return ir.Store(T.U16, ir.AddressOf(variable), offset, value)


def add(left: ir.Expression, right: ir.Expression) -> ir.Binary:
    return ir.Binary(Op.ADD, T.U16, left, right)


def bump() -> ir.Statement:
    return store(add(load(), imm(1)))


def is_four() -> ir.Expression:
    return ir.Binary(Op.EQUAL, T.U16, load(), imm(4))


def num_loads(*body: ir.Statement, globals_=(N, M, OUT), functions=()) -> int:
    """Check a body, and return how often it loads from `n` afterwards."""
    main = ir.Function("main", (), None, body)
    one = instance((main, *functions), globals_)
    check(one)
    forward(one)
    return sum(
        isinstance(node, ir.Load)
        and isinstance(node.address, ir.AddressOf)
        and node.address.variable is globals_[0]
        for statement in walk.statements(main.body)
        for root in walk.roots(statement)
        for node in walk.expressions(root)
    )


def test_what_was_stored_is_there() -> None:
    assert num_loads(bump(), ir.If(is_four(), (store(imm(0)),), ())) == 1


def test_what_was_loaded_is_there() -> None:
    first = store(load(), OUT)
    assert num_loads(first, store(add(load(), load()), OUT, 2), store(imm(9))) == 1


def test_a_value_that_nobody_asks_for_again_takes_no_register() -> None:
    value = add(load(), imm(1))
    main = ir.Function("main", (), None, (store(value),))
    forward(instance((main,), (N, OUT)))
    (stored,) = main.body
    assert isinstance(stored, ir.Store)
    assert isinstance(stored.value, ir.Binary)


@pytest.mark.parametrize("other", [T.U16, T.U32, T.U8])
def test_another_store_to_the_same_bytes_ends_what_is_known(other: ScalarType) -> None:
    over = ir.Store(other, ir.AddressOf(N), 0, ir.Immediate(other, 9))
    expected = 0 if other is T.U16 else 1
    assert num_loads(store(imm(5)), over, store(load(), OUT)) == expected


def test_both_ways_of_a_choice_have_to_agree() -> None:
    choice = ir.If(ir.Binary(Op.EQUAL, T.U16, load(M), imm(3)), (store(imm(1)),), ())
    assert num_loads(store(imm(5)), choice, store(load(), OUT)) == 1
    leaves = ir.If(
        ir.Binary(Op.EQUAL, T.U16, load(M), imm(9)), (store(imm(1)), ir.Return(None)), ()
    )
    assert num_loads(store(imm(5)), leaves, store(load(), OUT)) == 0


def test_a_loop_begins_with_what_no_round_changes() -> None:
    i = ir.Local("i", T.U16)
    step = ir.SetLocal(i, add(ir.ReadLocal(i), imm(1)))
    condition = ir.Binary(Op.LESS, T.U16, ir.ReadLocal(i), imm(3))

    def loop(*body: ir.Statement) -> tuple[ir.Statement, ...]:
        return store(imm(5)), ir.SetLocal(i, imm(0)), ir.Loop(condition, body, (step,))

    assert num_loads(*loop(store(load(), OUT))) == 0
    assert num_loads(*loop(store(add(load(), load()), OUT), store(imm(6)))) == 1
    assert num_loads(*loop(store(imm(6))), store(load(), OUT)) == 1


def test_a_block_that_is_left_early_may_not_have_stored() -> None:
    early = ir.If(ir.Binary(Op.EQUAL, T.U16, load(M), imm(3)), (ir.Break(),), ())
    body = (store(imm(5)), ir.Labelled((early, store(imm(6)))), store(load(), OUT))
    assert num_loads(*body) == 1
    assert num_loads(store(imm(5)), ir.Labelled((store(imm(6)),)), store(load(), OUT)) == 0


def test_a_register_that_is_set_again_is_no_value_of_before() -> None:
    x = ir.Local("x", T.U16)
    body = (ir.SetLocal(x, load(M)), store(ir.ReadLocal(x)), ir.SetLocal(x, imm(7)))
    assert num_loads(*body, store(load(), OUT), store(ir.ReadLocal(x), OUT, 2)) == 1


def test_a_call_and_a_write_to_an_unknown_place_end_what_is_known() -> None:
    other = ir.Function("other", (), None, (bump(),))
    call = ir.Evaluate(ir.Call(other, ()))
    assert num_loads(store(imm(5)), call, store(load(), OUT), functions=(other,)) == 1
    somewhere = add(ir.AddressOf(OUT), add(load(M), load(M)))
    unknown = ir.Store(T.U16, somewhere, 0, imm(1))
    assert num_loads(store(imm(5)), unknown, store(load(), OUT)) == 1


def test_a_dsd_operation_ends_what_is_known() -> None:
    dsd = ir.MakeDsd(
        DsdDescriptor(DsdKind.MEM1D), ir.AddressOf(OUT), imm(2), ir.Immediate(T.I16, 1)
    )
    operation = ir.DsdStatement(
        DsdOperation.MOV16, ir.Vector(dsd), None, ir.Vector(dsd), scalar=None, config=None
    )
    assert num_loads(store(imm(5)), operation, store(load(), OUT)) == 1


def test_a_variable_that_a_pointer_of_the_code_reaches_is_loaded_every_time() -> None:
    body = (store(imm(5)), store(load(), OUT))
    assert num_loads(*body) == 0
    assert num_loads(*body, store(ir.AddressOf(N), OUT, 4)) == 1
    holder = ir.Global("holder", 2, 2, T.U16, None, [ir.AddressDatum(0, ir.AddressOf(N))])
    assert num_loads(*body, store(load(holder), OUT, 4), globals_=(N, OUT, holder)) == 1
    outer = ir.Global("outer", 2, 2, T.U16, None, [ir.AddressDatum(0, ir.AddressOf(holder))])
    asked = store(load(outer), OUT, 4)
    assert num_loads(*body, asked, globals_=(N, OUT, holder, outer)) == 1


def test_a_variable_that_only_the_host_knows_besides_is_there() -> None:
    exported = number("n", is_exported=True)
    change = (store(imm(5), exported), store(load(exported), OUT))
    assert num_loads(*change, globals_=(exported, OUT)) == 0
    body = (store(imm(5)), store(load(), OUT))
    holder = ir.Global("holder", 2, 2, T.U16, None, [ir.AddressDatum(0, ir.AddressOf(N))])
    assert num_loads(*body, globals_=(N, OUT, holder)) == 0
