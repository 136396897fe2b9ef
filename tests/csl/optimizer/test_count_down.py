"""Loops whose counter is not read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.csl import ir
from onewafer.csl.ir import walk
from onewafer.csl.optimizer.count_down import count_down
from onewafer.image import Opcode, ScalarType
from tests.csl.codegen.interpreters import check, instance

Op, T = Opcode, ScalarType
ACTIVATE = ir.Activate(9)


def imm(value: int, scalar: ScalarType = T.U16) -> ir.Immediate:
    return ir.Immediate(scalar, value)


def count(
    counter: ir.Local, stop: ir.Expression, *body: ir.Statement, step: int = 1
) -> tuple[ir.Statement, ...]:
    read, scalar = ir.ReadLocal(counter), counter.type
    assert isinstance(scalar, ScalarType)
    advance = ir.SetLocal(counter, ir.Binary(Op.ADD, scalar, read, imm(step, scalar)))
    return (
        ir.SetLocal(counter, imm(0, scalar)),
        ir.Loop(ir.Binary(Op.LESS, scalar, read, stop), body, (advance,)),
    )


def is_turned(body: tuple[ir.Statement, ...]) -> bool:
    loop = count_down(walk.Contents.of(body)).block[1]
    return isinstance(loop, ir.Loop) and loop.condition is not body[1].condition


@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 5), st.sampled_from([T.U16, T.U32]))
def test_counting_down_runs_as_often(outer, inner, leave, scalar):
    n, m = ir.Local("n", scalar), ir.Local("m", scalar)
    i, j, rounds = ir.Local("i", scalar), ir.Local("j", scalar), ir.Local("rounds", T.U16)
    read = ir.ReadLocal(rounds)
    stop = ir.If(ir.Binary(Op.EQUAL, T.U16, read, imm(leave)), (ir.Break(),), ())
    skip = ir.If(ir.Binary(Op.EQUAL, T.U16, read, imm(2)), (ir.Continue(),), ())
    once_more = ir.SetLocal(rounds, ir.Binary(Op.ADD, T.U16, read, imm(1)))
    within = count(j, ir.ReadLocal(m), once_more, stop, skip, ACTIVATE)
    body = (ir.SetLocal(rounds, imm(0)), *count(i, ir.ReadLocal(n), *within, ACTIVATE))
    main = ir.Function("main", (n, m), None, body)
    check(instance((main,)), (outer, inner))


def test_a_counter_without_readers_goes_down():
    i, n = ir.Local("i", T.U16), ir.Local("n", T.U16)
    assert is_turned(count(i, ir.ReadLocal(n), ACTIVATE))
    assert is_turned(count(i, imm(7), ACTIVATE))


@pytest.mark.parametrize("scalar", [T.I16, T.I32, T.F32])
def test_a_signed_counter_stays_as_a_bound_may_be_below_0(scalar):
    i, n = ir.Local("i", scalar), ir.Local("n", scalar)
    assert not is_turned(count(i, ir.ReadLocal(n), ACTIVATE))


def test_a_counter_that_is_read_changed_or_goes_by_more_than_one_stays():
    i, n, last = (ir.Local(name, T.U16) for name in ("i", "n", "last"))
    bound = ir.ReadLocal(n)
    keep = ir.SetLocal(last, ir.ReadLocal(i))
    assert not is_turned(count(i, bound, keep))
    assert not is_turned((*count(i, bound, ACTIVATE), keep))
    assert not is_turned(count(i, bound, ir.SetLocal(i, imm(5))))
    assert not is_turned(count(i, bound, ACTIVATE, step=2))


def test_a_loop_whose_bound_changes_stays():
    i, n, x = ir.Local("i", T.U16), ir.Local("n", T.U16), ir.Global("x", 2, 2, T.U16, None)
    assert not is_turned(count(i, ir.ReadLocal(n), ir.SetLocal(n, imm(3))))
    assert not is_turned(count(i, ir.Load(T.U16, ir.AddressOf(x)), ACTIVATE))
