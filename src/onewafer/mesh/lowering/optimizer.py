"""The entries of a program that trains which are no part of its graph: the step, and clearing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.graph import DataType
from onewafer.mesh.banks import period
from onewafer.mesh.blocks import Arena, Block, Distribution, Placement, Role
from onewafer.mesh.optimizers import MOST_NUMBERS, NUMBERS, ClearGradients

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.optimizers import StepOperation

UPDATE, CLEAR = "update", "clear"
"""Entries of a program with an optimizer: take a step, and set all gradients to 0."""
STEP_NUMBERS = "step_numbers"
"""The input of `update`: `MOST_NUMBERS` of each group of parameters."""


def moment_of(parameter: str, arena: Arena) -> str:
    """Return the name of what an optimizer keeps of a parameter in an arena."""
    return f"{parameter}.{arena.name}"


def append_clearing(builder: Builder) -> None:
    """Append the entry that sets the gradients of all parameters to 0."""
    gradients = Block(Arena.GRADIENTS, 0, 1, builder.num_parameter_elements)
    builder.append(ClearGradients(gradients))
    builder.end_entry(CLEAR)


def append_optimizer(
    builder: Builder,
    step: type[StepOperation],
    groups: Sequence[Collection[str]],
) -> None:
    """Append the step of all groups of parameters, each of which has numbers of its own.

    Parameters of a group that lie one after the other are one sweep. The host finds the parameters
    afterwards, and what is kept of each.
    """
    for index, names in enumerate(groups):
        numbers = Block(NUMBERS, index * MOST_NUMBERS, 1, MOST_NUMBERS)
        homes = [builder.home(name) for name in names]
        for row in _rows(home.block for home in homes):
            builder.append(step(row, numbers))  # pyright: ignore[reportCallIssue]  # all have both
        for home in homes:
            result = replace(home, role=Role.OUTPUT, entry=UPDATE)
            builder.add(result)
            for arena in step.arenas:
                block = replace(home.block, arena=arena)
                builder.add(replace(result, name=moment_of(home.name, arena), block=block))
    builder.end_entry(UPDATE)
    builder.reserve(dict.fromkeys(step.arenas, builder.num_parameter_elements))
    all_numbers = Block(NUMBERS, 0, 1, len(groups) * MOST_NUMBERS)
    builder.reserve({NUMBERS: all_numbers.columns})
    builder.add(
        Placement(
            name=STEP_NUMBERS,
            role=Role.INPUT,
            shape=(1, all_numbers.columns),
            dtype=DataType.F32,
            rows=Distribution.LOCAL,
            columns=Distribution.LOCAL,
            block=all_numbers,
            entry=UPDATE,
        )
    )


def _rows(blocks: Iterable[Block]) -> list[Block]:
    """Return blocks as rows of parameters: those one after the other, but for alignment, as one."""
    rows: list[Block] = []
    for block in sorted(blocks, key=lambda block: block.offset):
        end = block.offset + block.num_elements
        if rows and block.offset - (rows[-1].offset + rows[-1].columns) < period(DataType.F32):
            rows[-1] = replace(rows[-1], columns=end - rows[-1].offset)
        else:
            rows.append(Block(block.arena, block.offset, 1, block.num_elements))
    return rows
