"""Branches around short ways become instructions with a condition."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onewafer.csl import ir
from onewafer.csl.codegen.conditions import with_conditions
from onewafer.csl.codegen.object_code import Condition, Instruction, Label, Register
from onewafer.csl.codegen.tidy import tidy
from onewafer.image import Opcode, ScalarType

A, B, C = Label(), Label(), Label()
FUNCTION, CALLEE = ir.Function("f", (), None), ir.Function("g", (), None)
FLAG, X, Y = (Register(FUNCTION, slot) for slot in (1, 2, 3))
SET, CLEAR = Condition(FLAG, is_set=True), Condition(FLAG, is_set=False)
ADD = Instruction(Opcode.ADD, ScalarType.U16, rd=X, ra=X, rb=Y)
MOVE = Instruction(Opcode.MOVE, rd=X, ra=Y)
STORE = Instruction(Opcode.STORE, ScalarType.U32, ra=X, rb=Y)
END, RETURN = Instruction(Opcode.END_TASK), Instruction(Opcode.RETURN)


def branch(label: Label, opcode: Opcode = Opcode.BRANCH_ZERO) -> Instruction:
    return Instruction(opcode, ra=FLAG, imm=label)


def jump(label: Label) -> Instruction:
    return Instruction(Opcode.JUMP, imm=label)


def under(condition: Condition, *way: Instruction) -> tuple[Instruction, ...]:
    return tuple(replace(instruction, rc=condition) for instruction in way)


def converted(*items: Instruction | Label) -> tuple[Instruction | Label, ...]:
    return tidy(with_conditions(items))


def stays(*items: Instruction | Label) -> bool:
    return tuple(with_conditions(items)) == items


def test_one_way() -> None:
    assert converted(branch(A), ADD, STORE, A, END) == (*under(SET, ADD, STORE), END)
    opposite = branch(A, Opcode.BRANCH_NONZERO)
    assert converted(opposite, ADD, A, END) == (*under(CLEAR, ADD), END)


def test_two_ways() -> None:
    both = branch(A), ADD, jump(B), A, MOVE, STORE, B, END
    assert converted(*both) == (*under(SET, ADD), *under(CLEAR, MOVE, STORE), END)


def test_two_ways_that_end_alike() -> None:
    same = (*under(SET, ADD), *under(CLEAR, MOVE), END)
    assert converted(branch(A), ADD, END, A, MOVE, END) == same
    assert stays(branch(A), ADD, RETURN, A, MOVE, END)
    assert stays(branch(A), ADD, jump(B), A, MOVE, END, B, END)


def test_the_inner_branch_of_two() -> None:
    items = branch(A), ADD, branch(B), MOVE, B, A, END
    assert converted(*items) == (branch(A), ADD, *under(SET, MOVE), A, END)


@pytest.mark.parametrize(
    "way",
    [
        (STORE, STORE, STORE, ADD),
        (Instruction(Opcode.DIV, ScalarType.U16, rd=X, ra=X, rb=Y),),
        (Instruction(Opcode.CALL, imm=CALLEE),),
        (Instruction(Opcode.DSD, 1),),
        (C, ADD),
        (),
    ],
    ids=["long", "division", "call", "DSD operation", "place of its own", "nothing"],
)
def test_what_stays_a_branch(way: tuple[Instruction | Label, ...]) -> None:
    assert stays(branch(A), *way, A, END)


def test_way_that_others_come_to_as_well() -> None:
    assert stays(branch(A), ADD, jump(B), A, MOVE, B, branch(A), END)


def test_condition_is_kept_until_the_last_instruction() -> None:
    clears = replace(MOVE, rd=FLAG)
    assert converted(branch(A), ADD, clears, A, END) == (*under(SET, ADD, clears), END)
    assert stays(branch(A), clears, ADD, A, END)
    assert stays(branch(A), clears, jump(B), A, MOVE, B, END)
    pair = Instruction(Opcode.DSD_SET_BASE, rd=Register(FUNCTION, 0), ra=X, rb=Y)
    assert stays(branch(A), pair, ADD, A, END)


def test_frame_of_another_function_may_hold_the_condition() -> None:
    passes = replace(MOVE, rd=Register(CALLEE, 0))
    assert stays(branch(A), passes, jump(B), A, passes, B, END)
    assert converted(branch(A), passes, A, END) == (*under(SET, passes), END)
