"""Cost cases of products with weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.mesh.blocks import Arena, Axis, Block
from onewafer.mesh.cost_case import ROWS_AND_INNER, CostCase, Sizes, grid
from onewafer.mesh.dense.operations import Factor, Matmul, Matmuls, Split

if TYPE_CHECKING:
    from onewafer.mesh.operation import MeshOperation


def _matmul(sizes: Sizes, axis: Axis) -> MeshOperation:
    operand = Block(Arena.ACTIVATIONS, 0, sizes.rows, sizes.inner)
    weight = Block(Arena.PARAMETERS, 0, sizes.inner, sizes.columns)
    return Matmul(sizes.block(), operand, weight, axis, sizes.features(sizes.columns))


def _matmuls(sizes: Sizes, axis: Axis) -> MeshOperation:
    operand = Block(Arena.ACTIVATIONS, 0, sizes.rows, sizes.inner)
    weight = Block(Arena.PARAMETERS, 0, sizes.inner, sizes.columns)
    factor = Factor(weight, sizes.features(sizes.columns))
    sums = replace(sizes.block(), columns=sizes.heads * sizes.columns)
    return Matmuls(sums, operand, (factor,) * sizes.heads, axis)


def _split(sizes: Sizes) -> MeshOperation:
    sums = replace(sizes.block(), columns=sizes.heads * sizes.columns)
    return Split((sizes.block(),) * sizes.heads, sums)


def _cases_along(axis: Axis) -> tuple[CostCase, ...]:
    return (
        CostCase(
            lambda sizes: _matmul(sizes, axis),
            rounds=("filled", "filled*rows", "filled*rows*inner", "cut*rows"),
            lengths=("elements", "columns", "absent"),
            grid=(*ROWS_AND_INNER, *grid(rows=(2, 3), inner=(1, 4), padding=(4, 11))),
        ),
        CostCase(
            lambda sizes: _matmuls(sizes, axis),
            rounds=("parts", "filled", "filled*rows", "filled*rows*inner", "cut*rows"),
            lengths=("elements", "columns", "absent"),
            grid=(
                *grid(rows=(2, 3, 5), inner=(1, 4), heads=(2, 3)),
                *grid(rows=(2, 3), inner=(1, 4), heads=(2, 3), padding=(4, 11)),
            ),
        ),
    )


COST_CASES = (
    *_cases_along(Axis.X),
    *_cases_along(Axis.Y),
    CostCase(
        _split,
        rounds=("parts", "parts*rows"),
        lengths=("columns",),
        grid=grid(rows=(2, 3, 5), heads=(2, 3)),
    ),
)
