"""Loops of a few rounds become their rounds."""

from __future__ import annotations

import pytest

from onewafer.csl import ir
from onewafer.csl.ir import walk
from onewafer.csl.optimizer.sizes import units_of
from onewafer.csl.optimizer.unroll import MOST_ROUNDS, MOST_UNITS, unroll
from onewafer.image import DsdDescriptor, DsdKind, DsdOperation, Opcode, ScalarType
from tests.csl.codegen.interpreters import check, instance

Op, T = Opcode, ScalarType
OUT = ir.Global("out", 64, 4, T.I16, None)
I = ir.Local("i", T.I16)  # noqa: E741 - the counter


def imm(value: int) -> ir.Immediate:
    return ir.Immediate(T.I16, value)


def count(start: int, stop: int, step: int, *body: ir.Statement) -> tuple[ir.Statement, ...]:
    advanced = ir.Binary(Op.ADD, T.I16, ir.ReadLocal(I), imm(step))
    condition = ir.Binary(Op.LESS, T.I16, ir.ReadLocal(I), imm(stop))
    return ir.SetLocal(I, imm(start)), ir.Loop(condition, body, (ir.SetLocal(I, advanced),))


def store(place: int = 0) -> ir.Statement:
    return ir.Store(T.I16, ir.AddressOf(OUT), place, ir.ReadLocal(I))


def note() -> ir.Statement:
    """Put the counter behind what is there."""
    doubled = ir.Binary(Op.MUL, T.I16, ir.Load(T.I16, ir.AddressOf(OUT)), imm(3))
    return ir.Store(T.I16, ir.AddressOf(OUT), 0, ir.Binary(Op.ADD, T.I16, doubled, ir.ReadLocal(I)))


def is_small() -> ir.Expression:
    return ir.Binary(Op.LESS, T.I16, ir.ReadLocal(I), imm(2))


def unrolled(*body: ir.Statement) -> list[ir.Statement]:
    main = ir.Function("main", (), None, body)
    check(instance((main,), (OUT,)))
    unroll(instance((main,), (OUT,)))
    return [*walk.statements(main.body)]


def num_loops(inside: list[ir.Statement]) -> int:
    return sum(isinstance(s, ir.Loop) for s in inside)


@pytest.mark.parametrize(
    ("start", "stop", "step", "words"),
    [(0, 4, 1, [0, 1, 2, 3]), (-3, 4, 2, [-3, -1, 1, 3]), (5, 5, 1, []), (0, 1, 9, [0])],
)
def test_each_round_knows_its_number(start: int, stop: int, step: int, words: list[int]) -> None:
    inside = unrolled(*count(start, stop, step, store()))
    assert [s.value.word for s in inside if isinstance(s, ir.Store)] == words


def test_the_counter_has_its_last_number_behind_the_loop() -> None:
    *_, last = unrolled(*count(0, 5, 2, note()), store(2))
    assert isinstance(last, ir.Store)
    assert isinstance(last.value, ir.ReadLocal)


def test_what_is_decided_by_the_number_of_a_round_is_decided() -> None:
    choice = ir.If(is_small(), (store(),), (store(2), store(4)))
    inside = unrolled(*count(0, 3, 1, choice))
    assert not any(isinstance(s, ir.If) for s in inside)
    assert sum(isinstance(s, ir.Store) for s in inside) == 2 * 1 + 2


def test_a_break_leaves_all_rounds() -> None:
    is_large = ir.Unary(
        Op.NOT, T.BOOL, ir.Binary(Op.LESS, T.I16, ir.Load(T.I16, ir.AddressOf(OUT)), imm(2))
    )
    inside = unrolled(*count(0, 5, 1, note(), ir.If(is_large, (ir.Break(),), ())), store(2))
    assert num_loops(inside) == 0


@pytest.mark.parametrize(
    ("rounds", "times", "stays"),
    [(MOST_ROUNDS, 1, 0), (MOST_ROUNDS + 1, 1, 1), (MOST_ROUNDS, 20, 1), (2, 20, 0)],
)
def test_a_long_loop_stays(rounds: int, times: int, stays: int) -> None:
    assert num_loops(unrolled(*count(0, rounds, 1, *[note() for _ in range(times)]))) == stays


def test_a_loop_that_goes_on_early_stays_and_one_inside_does_not() -> None:
    early = ir.If(is_small(), (ir.Continue(),), ())
    assert num_loops(unrolled(*count(0, 4, 1, early, note()))) == 1
    j = ir.Local("j", T.I16)
    outer = ir.Loop(
        ir.Binary(Op.LESS, T.I16, ir.ReadLocal(j), ir.Load(T.I16, ir.AddressOf(OUT), 6)),
        (*count(0, 4, 1, ir.If(is_small(), (), (ir.Continue(1),)), note()),),
        (ir.SetLocal(j, ir.Binary(Op.ADD, T.I16, ir.ReadLocal(j), imm(1))),),
    )
    assert (
        num_loops(
            unrolled(ir.SetLocal(j, imm(0)), ir.Store(T.I16, ir.AddressOf(OUT), 6, imm(3)), outer)
        )
        == 1
    )


def test_a_loop_whose_counter_is_set_inside_stays() -> None:
    again = ir.If(is_small(), (ir.SetLocal(I, imm(7)),), ())
    assert num_loops(unrolled(*count(0, 9, 1, note(), again))) == 1


def copy(to: ir.Expression) -> ir.Statement:
    vector = ir.Vector(to)
    return ir.DsdStatement(DsdOperation.MOV16, vector, None, vector, scalar=None, config=None)


def descriptor() -> ir.Expression:
    return ir.MakeDsd(DsdDescriptor(DsdKind.MEM1D), ir.AddressOf(OUT), imm(2), imm(1))


def test_a_loop_that_moves_a_descriptor_on_stays() -> None:
    moving = ir.Local("moving", ir.DSD)
    begin = ir.SetLocal(moving, descriptor())
    moved = ir.UpdateDsd(ir.DsdUpdate.ADVANCE, ir.ReadLocal(moving), imm(1), 2)
    operation = copy(ir.ReadLocal(moving))
    assert num_loops(unrolled(begin, *count(0, 4, 1, operation))) == 0
    assert num_loops(unrolled(begin, *count(0, 4, 1, operation, ir.SetLocal(moving, moved)))) == 1


def test_a_descriptor_that_stays_the_same_counts_once() -> None:
    body = [copy(descriptor()) for _ in range(6)]
    assert units_of(tuple(body)) * MOST_ROUNDS > MOST_UNITS
    assert num_loops(unrolled(*count(0, MOST_ROUNDS, 1, *body))) == 0


def test_a_loop_around_one_that_stays_stays() -> None:
    inner = count(0, MOST_ROUNDS + 1, 1, note())
    j = ir.Local("j", T.I16)
    outer = ir.Loop(
        ir.Binary(Op.LESS, T.I16, ir.ReadLocal(j), imm(2)),
        inner,
        (ir.SetLocal(j, ir.Binary(Op.ADD, T.I16, ir.ReadLocal(j), imm(1))),),
    )
    assert num_loops(unrolled(ir.SetLocal(j, imm(0)), outer)) == 2
