"""The peephole pass."""

from __future__ import annotations

from onewafer.csl import ir
from onewafer.csl.codegen.object_code import ZERO, Instruction, Label
from onewafer.csl.codegen.tidy import tidy
from onewafer.image import Opcode

A, B, C = Label(), Label(), Label()
WORK = Instruction(Opcode.ACTIVATE, imm=9)
RETURN = Instruction(Opcode.RETURN)


def jump(label: Label) -> Instruction:
    return Instruction(Opcode.JUMP, imm=label)


def branch(opcode: Opcode, label: Label) -> Instruction:
    return Instruction(opcode, ra=ZERO, imm=label)


def test_a_jump_to_the_next_instruction_goes() -> None:
    assert tidy([jump(A), A, RETURN]) == (RETURN,)


def test_code_after_a_jump_goes_up_to_a_used_label() -> None:
    items = [branch(Opcode.BRANCH_ZERO, B), RETURN, WORK, A, WORK, B, RETURN]
    assert tidy(items) == (branch(Opcode.BRANCH_ZERO, B), RETURN, B, RETURN)


def test_jumps_go_straight_to_their_final_target() -> None:
    items = [branch(Opcode.BRANCH_ZERO, A), WORK, RETURN, A, jump(B), C, WORK, B, WORK, jump(C)]
    assert tidy(items)[0] == branch(Opcode.BRANCH_ZERO, B)


def test_a_jump_to_a_return_returns() -> None:
    items = [branch(Opcode.BRANCH_ZERO, A), WORK, jump(B), A, WORK, WORK, B, RETURN]
    assert tidy(items)[2] == RETURN


def test_a_branch_around_a_jump_is_turned() -> None:
    items = [C, WORK, branch(Opcode.BRANCH_ZERO, A), jump(C), A, RETURN]
    assert tidy(items) == (C, WORK, branch(Opcode.BRANCH_NONZERO, C), RETURN)


def test_an_endless_loop_stays() -> None:
    assert tidy([A, jump(A)]) == (A, jump(A))
    two = tidy([A, jump(B), B, jump(A)])
    assert two[:2] == (A, jump(A))


def test_a_call_before_a_return_is_a_jump() -> None:
    callee = ir.Function("callee", (), None)
    call = Instruction(Opcode.CALL, imm=callee)
    last = Instruction(Opcode.JUMP, imm=callee)
    assert tidy([call, WORK, call, RETURN]) == (call, WORK, last)
    items = [branch(Opcode.BRANCH_ZERO, A), call, A, RETURN]
    assert tidy(items) == (Instruction(Opcode.BRANCH_NONZERO, ra=ZERO, imm=callee), RETURN)
    assert tidy([call, RETURN], jumps_to_last=False) == (call, RETURN)
