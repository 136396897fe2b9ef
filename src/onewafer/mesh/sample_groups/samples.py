"""Samples of what groups of samples need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.mesh.blocks import Arena, Block
from onewafer.mesh.sample import NUM_PES, OF_GROUPS, Sample, Sizes
from onewafer.mesh.sample_groups.operations import (
    BroadcastInGroups,
    ClearOtherGroups,
    Divide,
    MaxInGroups,
    PlaceShare,
    ReduceInGroups,
    TakeShare,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.mesh.operation import MeshOperation

_BEHIND = 100


def _room(sizes: Sizes) -> Block:
    """Return a part for each row of PEs."""
    return Block(Arena.ACTIVATIONS, _BEHIND, 1, NUM_PES * sizes.rows * sizes.columns)


def _sample(build: Callable[[Sizes], MeshOperation], *lengths: str) -> Sample:
    return Sample(build, lengths=lengths, is_of_singles=True, rows=OF_GROUPS)


def _shares(arena: Arena) -> tuple[Sample, ...]:
    return (
        _sample(lambda sizes: PlaceShare(_room(sizes), sizes.block(arena)), "elements", "part"),
        _sample(lambda sizes: TakeShare(sizes.block(arena), _room(sizes)), "part"),
    )


def _divide(sizes: Sizes) -> MeshOperation:
    del sizes
    return Divide(*(Block(Arena.ACTIVATIONS, place, 1, 1) for place in range(3)))


SAMPLES = (
    _sample(lambda sizes: ReduceInGroups(sizes.block())),
    _sample(lambda sizes: MaxInGroups(sizes.block())),
    _sample(lambda sizes: BroadcastInGroups(sizes.block())),
    *_shares(Arena.ACTIVATIONS),
    *_shares(Arena.GRADIENTS),
    _sample(lambda sizes: ClearOtherGroups(sizes.block(Arena.GRADIENTS)), "elements"),
    _sample(_divide),
)
