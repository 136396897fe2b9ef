"""What is inside of a node: the tables of `walk` know every kind of it."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args

from onewafer.csl import ir, walk

EXPRESSIONS, STATEMENTS = get_args(ir.Expression), get_args(ir.Statement)


def test_every_kind_of_node_is_looked_up() -> None:
    """One without an entry would end the compiler where a program first has it."""
    assert set(walk._OPERANDS) == set(EXPRESSIONS)
    assert set(walk._ROOTS) == set(STATEMENTS)


def test_statements_with_statements_inside_are_walked_through() -> None:
    """One that is forgotten would hide what is in it from every pass."""
    with_blocks = {
        kind
        for kind in STATEMENTS
        if any(field.type == "tuple[Statement, ...]" for field in fields(kind))
    }
    assert set(walk._BLOCKS) == with_blocks
