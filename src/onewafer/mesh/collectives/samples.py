"""Samples of collectives and of what is around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.mesh.blocks import Arena, Axis, Block
from onewafer.mesh.collectives.operations import Broadcast, BroadcastStore, ChainMax, ChainReduce
from onewafer.mesh.collectives.redistribute import Convert, Redistribute
from onewafer.mesh.sample import Sample, Sizes

if TYPE_CHECKING:
    from onewafer.mesh.operation import MeshOperation


def _redistribute(sizes: Sizes, axis: Axis) -> MeshOperation:
    return Redistribute(sizes.block(), Block(Arena.ACTIVATIONS, 0, sizes.rows, sizes.inner), axis)


def _samples_along(axis: Axis) -> tuple[Sample, ...]:
    return (
        Sample(
            lambda sizes: _redistribute(sizes, axis),
            rounds=("rows",),
            lengths=("elements", "shared"),
        ),
        Sample(lambda sizes: ChainReduce(sizes.block(), axis)),
        Sample(lambda sizes: ChainMax(sizes.block(), axis)),
        Sample(lambda sizes: Broadcast(sizes.block(), axis)),
        Sample(lambda sizes: BroadcastStore(sizes.block(), sizes.block(), axis), is_of_halves=True),
    )


SAMPLES = (
    *_samples_along(Axis.X),
    *_samples_along(Axis.Y),
    Sample(
        lambda sizes: Convert(sizes.block(), sizes.block()),
        lengths=("elements",),
        is_of_halves=True,
    ),
)
