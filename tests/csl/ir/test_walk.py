"""What is inside of a node: the tables of `walk` know every kind of it."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args

from onewafer.csl import ir
from onewafer.csl.ir import rewrite, walk
from onewafer.image import Opcode, ScalarType

EXPRESSIONS, STATEMENTS = get_args(ir.Expression), get_args(ir.Statement)


def test_every_kind_of_node_is_looked_up() -> None:
    """One without an entry would end the compiler where a program first has it."""
    assert set(walk._OPERANDS) == set(EXPRESSIONS)
    assert set(walk._ROOTS) == set(STATEMENTS)
    assert set(rewrite._WITH_OPERANDS) == set(EXPRESSIONS)


def test_statements_with_statements_inside_are_walked_through() -> None:
    """One that is forgotten would hide what is in it from every pass."""
    with_blocks = {
        kind
        for kind in STATEMENTS
        if any(field.type == "tuple[Statement, ...]" for field in fields(kind))
    }
    assert set(walk._BLOCKS) == with_blocks


def test_locals_are_read_from_left_to_right_as_often_as_they_stand_there() -> None:
    one, other = (ir.Local(name, ScalarType.U16) for name in ("one", "other"))
    first, second = ir.ReadLocal(one), ir.ReadLocal(other)
    inner = ir.Binary(Opcode.ADD, ScalarType.U16, second, first)
    outer = ir.Select(ScalarType.U16, first, inner, ir.Load(ScalarType.U16, second))
    assert walk.locals_read(outer, first) == [one, other, one, other, one]


def test_a_statement_whose_blocks_stay_is_not_copied() -> None:
    """Blocks have identities, which say where locals live: one that changes is a new one."""
    inside = ir.Loop(ir.Immediate(ScalarType.BOOL, 1), (ir.Break(),), ())
    outside = ir.If(ir.Immediate(ScalarType.BOOL, 1), (inside,), ())
    assert rewrite.with_blocks(outside, lambda block: block) is outside
    changed = rewrite.with_blocks(outside, lambda block: (*block, ir.Continue()))
    assert isinstance(changed, ir.If)
    assert (changed.condition, changed.then[0]) == (outside.condition, inside)
    assert [len(block) for block in walk.blocks(changed)] == [2, 1]
