"""Cost cases of operations that depend on tokens and positions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.mesh import tokens as mesh
from onewafer.mesh.blocks import Arena, Axis, Block
from onewafer.mesh.cost_case import (
    NUM_PES,
    NUM_SEQUENCES,
    OF_ONE,
    OF_SEQUENCES,
    OF_SEVERAL,
    OF_TRAINING,
    CostCase,
    Sizes,
    grid,
    grid_of_slots,
)

if TYPE_CHECKING:
    from onewafer.mesh.operation import MeshOperation


def _look_up_tokens(sizes: Sizes) -> MeshOperation:
    indices = Block(Arena.INDICES, 0, sizes.rows, 1)
    table = Block(Arena.PARAMETERS, 0, sizes.columns, 5)
    return mesh.LookUpTokens(sizes.block(), indices, table, Axis.X)


def _some_held(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Return tokens of which one in `NUM_PES` is in the PE's block of the table."""
    held = -(-sizes.rows // NUM_PES)
    return {"model.indices": (0, 0) * held + (0, 1) * (sizes.rows - held)}


def _add_tokens(sizes: Sizes) -> mesh.AddTokens:
    indices = Block(Arena.INDICES, 0, sizes.rows, 1)
    table = Block(Arena.GRADIENTS, 0, sizes.columns, 5)
    return mesh.AddTokens(table, sizes.block(), indices, Axis.X)


def _add_tokens_but_one(sizes: Sizes) -> MeshOperation:
    return replace(_add_tokens(sizes), padding=3)


def _rotate(sizes: Sizes) -> MeshOperation:
    angles = Block(Arena.ACTIVATIONS, 0, sizes.rows, sizes.columns)
    values = replace(angles, columns=sizes.columns * sizes.group)
    return mesh.Rotate(values, values, angles, angles, angles, sizes.group)


_INDEX = Block(Arena.INDICES, 0, 1, 1)

COST_CASES = (
    CostCase(
        _look_up_tokens,
        rounds=("rows", "held", "held*columns"),
        lengths=("elements",),
        grid=grid(rows=(3, 4, 8, 9), columns=(5, 11)),
        memory=_some_held,
    ),
    CostCase(
        lambda sizes: mesh.LookUpPositions(
            sizes.block(), Block(Arena.PARAMETERS, 0, sizes.rows - 1, sizes.columns), Axis.X
        ),
        rounds=("holds",),
        lengths=("elements", "held"),
        grid=(*grid(rows=(2, 3, 5)), *grid(rows=(2, 3, 5), start=(0,))),
        rows=OF_ONE,
    ),
    CostCase(
        lambda sizes: mesh.LookUpPositions(
            sizes.block(),
            Block(Arena.PARAMETERS, 0, sizes.rows - 1, sizes.columns),
            Axis.X,
            has_slots=True,
        ),
        rounds=("slot", "holds"),
        lengths=("elements", "held"),
        grid=grid_of_slots(((), ((0, 6),), ((50, 8),)), rows=(3, 5), start=(0, 59)),
        rows=OF_SEVERAL,
    ),
    CostCase(
        _rotate,
        rounds=("long*members", "short", "short*pairs"),
        lengths=("elements", "pairs", "members", "whole"),
        strides=("members", "2*members"),
        grid=(
            *grid(rows=(2, 3), columns=(4, 6), group=(3, 4)),
            *grid(rows=(1,), columns=(4, 6), group=(5, 7)),
        ),
        rows=OF_SEQUENCES,
    ),
    CostCase(
        lambda sizes: mesh.TakeRow(sizes.row(arena=Arena.ACTIVATIONS), sizes.block(), is_last=True),
        lengths=("columns",),
        rows=OF_ONE,
    ),
    CostCase(
        lambda sizes: mesh.TakeRowAt(sizes.row(arena=Arena.ACTIVATIONS), sizes.block(), _INDEX),
        lengths=("columns",),
        rows=OF_ONE,
    ),
    CostCase(
        lambda sizes: mesh.TakeLastRows(
            Block(Arena.ACTIVATIONS, 0, NUM_SEQUENCES, sizes.columns), sizes.block()
        ),
        rounds=("slots",),
        lengths=("columns",),
        grid=grid_of_slots(((), ((1, 4),), ((0, 1), (50, 6))), rows=(2, 5)),
        rows=OF_SEVERAL,
    ),
    *(
        CostCase(
            add,
            rounds=("rows", "held", "held*columns"),
            grid=grid(rows=(3, 4, 8, 9), columns=(5, 11)),
            is_of_singles=True,
            rows=OF_TRAINING,
            memory=_some_held,
        )
        for add in (_add_tokens, _add_tokens_but_one)
    ),
    CostCase(
        lambda sizes: mesh.AddPositions(
            Block(Arena.GRADIENTS, 0, sizes.rows - 1, sizes.columns), sizes.block(), Axis.X
        ),
        rounds=("holds",),
        lengths=("held",),
        grid=(*grid(rows=(2, 3, 5)), *grid(rows=(2, 3, 5), start=(0,))),
        is_of_singles=True,
        rows=OF_ONE,
    ),
    CostCase(
        lambda sizes: mesh.TurnAngles(sizes.block(), sizes.block()),
        lengths=("pairs",),
        grid=grid(rows=(2, 3, 5), columns=(4, 10)),
        is_of_singles=True,
        rows=OF_ONE,
    ),
    CostCase(
        lambda sizes: mesh.PlaceRow(
            sizes.block(), sizes.row(arena=Arena.ACTIVATIONS), is_last=True
        ),
        lengths=("elements", "columns"),
        grid=grid(rows=(2, 3, 5)),
        is_of_singles=True,
        rows=OF_ONE,
    ),
    CostCase(
        lambda sizes: mesh.PlaceRowAt(sizes.block(), sizes.row(arena=Arena.ACTIVATIONS), _INDEX),
        lengths=("elements", "columns"),
        grid=grid(rows=(2, 3, 5)),
        is_of_singles=True,
        rows=OF_ONE,
    ),
)
