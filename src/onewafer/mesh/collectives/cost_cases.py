"""Cost cases of collectives, and of redistribution and conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.mesh import collectives as mesh
from onewafer.mesh.blocks import Arena, Axis, Block
from onewafer.mesh.cost_case import CostCase, Sizes

if TYPE_CHECKING:
    from onewafer.mesh.operation import MeshOperation


def _redistribute(sizes: Sizes, axis: Axis) -> MeshOperation:
    return mesh.Redistribute(
        sizes.block(), Block(Arena.ACTIVATIONS, 0, sizes.rows, sizes.inner), axis
    )


def _cases_along(axis: Axis) -> tuple[CostCase, ...]:
    return (
        CostCase(
            lambda sizes: _redistribute(sizes, axis),
            rounds=("rows",),
            lengths=("elements", "shared"),
        ),
        CostCase(lambda sizes: mesh.ChainReduce(sizes.block(), axis)),
        CostCase(lambda sizes: mesh.ChainMax(sizes.block(), axis)),
        CostCase(lambda sizes: mesh.Broadcast(sizes.block(), axis)),
        CostCase(
            lambda sizes: mesh.BroadcastStore(sizes.block(), sizes.block(), axis), is_of_halves=True
        ),
    )


COST_CASES = (
    *_cases_along(Axis.X),
    *_cases_along(Axis.Y),
    CostCase(
        lambda sizes: mesh.Convert(sizes.block(), sizes.block()),
        lengths=("elements",),
        is_of_halves=True,
    ),
)
