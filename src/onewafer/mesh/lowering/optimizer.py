"""The entries of a training program that are not in its graph: clip, step, clear."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from onewafer.graph import DataType
from onewafer.mesh.attention import ClearCarried
from onewafer.mesh.blocks import Arena, Axis, Block, Distribution, Placement, Role
from onewafer.mesh.lowering.training import CLAMP, NORM, SCALE
from onewafer.mesh.optimizers import (
    MOST_NUMBERS,
    NUMBERS,
    AddSquares,
    ClampGradients,
    ClearGradients,
    ScaleGradients,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.optimizers import StepOperation

UPDATE, CLEAR = "update", "clear"
"""Entries of a program with an optimizer: take a step; set all gradients to 0."""
CLEAR_CARRIED = "clear_carried"
"""The entry that starts a backward pass in several launches: clear carried gradients."""
STEP_NUMBERS = "step_numbers"
"""The input of `update`: `MOST_NUMBERS` for each group of parameters."""


def names_of_update(index: int) -> tuple[str, str]:
    """Return the entry and the input of the step of the optimizer with this index, from 0 on."""
    return (f"{UPDATE}_{index + 1}", f"{STEP_NUMBERS}_{index + 1}") if index else _FIRST


_FIRST = UPDATE, STEP_NUMBERS
SQUARES_OF_GRADIENTS = "gradient_squares"
"""The output of the entry `NORM`."""
CLIP_FACTOR, CLIP_BOUND = "clip_factor", "clip_bound"
"""The inputs of the entries `SCALE` and `CLAMP`; the latter is the lower bound of gradients."""


def moment_of(parameter: str, arena: Arena) -> str:
    """Return the name of a parameter's optimizer state in an arena."""
    return f"{parameter}.{arena.name}"


def append_clearing(builder: Builder) -> None:
    """Append the entry that sets the gradients of all parameters to 0."""
    gradients = Block(Arena.GRADIENTS, 0, 1, builder.parameters.num_elements)
    builder.append(ClearGradients(gradients))
    builder.end_entry(CLEAR)


def append_clearing_of_carried(builder: Builder) -> None:
    """Append the entry that clears the gradients carried to keys and values of earlier launches."""
    for blocks in builder.saved.carried.values():
        for block in blocks:
            builder.append(ClearCarried(block))
    builder.end_entry(CLEAR_CARRIED)


def append_optimizer(
    builder: Builder,
    step: type[StepOperation],
    groups: Sequence[Collection[str]],
    *,
    index: int = 0,
) -> None:
    """Append the entry of an optimizer's step; each group of parameters has its own numbers.

    `index` is that of the optimizer; a parameter belongs to one optimizer. Adjacent parameters of a
    group are one sweep. The parameters and their states become outputs of the entry.
    """
    entry, name_of_numbers = names_of_update(index)
    for group, names in enumerate(groups):
        numbers = Block(NUMBERS, group * MOST_NUMBERS, 1, MOST_NUMBERS)
        placements = [builder.parameters.placement(name) for name in names]
        for row in _rows(placements, builder):
            builder.append(step(row, numbers))  # pyright: ignore[reportCallIssue]  # all have both
        for placement in placements:
            result = replace(placement, role=Role.OUTPUT, entries=(entry,))
            builder.add(result)
            for arena in step.arenas:
                block = replace(placement.block, arena=arena)
                builder.add(replace(result, name=moment_of(placement.name, arena), block=block))
    builder.end_entry(entry)
    builder.reserve(dict.fromkeys(step.arenas, builder.parameters.num_elements))
    all_numbers = Block(NUMBERS, 0, 1, len(groups) * MOST_NUMBERS)
    builder.reserve({NUMBERS: all_numbers.columns})
    builder.add(_everywhere(name_of_numbers, Role.INPUT, all_numbers, entry))


def append_clipping(builder: Builder, parameters: Iterable[str]) -> None:
    """Append the entries that clip gradients; `parameters` are all that are trained.

    A gradient that several PEs along an axis share is counted by the first of them. A program with
    copies of a parameter on one PE gets no such entries.
    """
    placements = [builder.parameters.placement(name) for name in parameters]
    if any(placement.copies > 1 for placement in placements):
        return
    total, goes_on = builder.place_behind(1), False
    for copied in _AXES_OF_COPIES:
        alike = [placement for placement in placements if _axes_of_copies(placement) == copied]
        for row in _rows(alike, builder):
            gradients = replace(row, arena=Arena.GRADIENTS)
            builder.append(AddSquares(total, gradients, copied, goes_on=goes_on))
            goes_on = True
    builder.all_reduce(total, Axis.Y)
    builder.all_reduce(total, Axis.X)
    builder.end_entry(NORM)
    builder.add(_everywhere(SQUARES_OF_GRADIENTS, Role.OUTPUT, total, NORM))
    gradients = Block(Arena.GRADIENTS, 0, 1, builder.parameters.num_elements)
    number = Block(NUMBERS, 0, 1, 1)
    for entry, name, sweep in _SWEEPS:
        builder.append(sweep(gradients, number))
        builder.end_entry(entry)
        builder.add(_everywhere(name, Role.INPUT, number, entry))


_AXES_OF_COPIES: tuple[tuple[Axis, ...], ...] = ((), (Axis.X,), (Axis.Y,), (Axis.X, Axis.Y))
_SWEEPS = (SCALE, CLIP_FACTOR, ScaleGradients), (CLAMP, CLIP_BOUND, ClampGradients)


def _axes_of_copies(placement: Placement) -> tuple[Axis, ...]:
    """Return the axes along which all PEs hold the same block of a parameter."""
    over = {placement.rows, placement.columns}
    return tuple(axis for axis in Axis if Distribution.over(axis) not in over)


def _everywhere(name: str, role: Role, block: Block, entry: str) -> Placement:
    """Return the placement of numbers that every PE has."""
    return Placement(
        name=name,
        role=role,
        shape=(1, block.columns),
        dtype=DataType.F32,
        rows=Distribution.LOCAL,
        columns=Distribution.LOCAL,
        block=block,
        entries=(entry,),
    )


def _rows(placements: Iterable[Placement], builder: Builder) -> list[Block]:
    """Return blocks of one row that cover the parameters; adjacent parameters share a row."""
    offsets = sorted(placement.block.offset for placement in builder.parameters.placements)
    next_to = dict(pairwise(offsets))
    rows: list[Block] = []
    last = -1
    for block in sorted(
        (placement.block for placement in placements), key=lambda block: block.offset
    ):
        if rows and next_to[last] == block.offset:
            end = block.offset + block.num_elements
            rows[-1] = replace(rows[-1], columns=end - rows[-1].offset)
        else:
            rows.append(Block(block.arena, block.offset, 1, block.num_elements))
        last = block.offset
    return rows
