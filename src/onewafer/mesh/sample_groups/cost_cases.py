"""Cost cases of the steps of sample groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.mesh import sample_groups as mesh
from onewafer.mesh.blocks import Arena, Block
from onewafer.mesh.cost_case import NUM_PES, OF_GROUPS, CostCase, Sizes

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.mesh.operation import MeshOperation

_BEHIND = 100


def _room(sizes: Sizes) -> Block:
    """Return a block with a part for each row of PEs."""
    return Block(Arena.ACTIVATIONS, _BEHIND, 1, NUM_PES * sizes.rows * sizes.columns)


def _case(build: Callable[[Sizes], MeshOperation], *lengths: str) -> CostCase:
    return CostCase(build, lengths=lengths, is_of_singles=True, rows=OF_GROUPS)


def _shares(arena: Arena) -> tuple[CostCase, ...]:
    return (
        _case(
            lambda sizes: mesh.PlaceOwnPart(_room(sizes), sizes.block(arena)), "elements", "part"
        ),
        _case(lambda sizes: mesh.TakeOwnPart(sizes.block(arena), _room(sizes)), "part"),
    )


def _divide(sizes: Sizes) -> MeshOperation:
    del sizes
    return mesh.Divide(*(Block(Arena.ACTIVATIONS, place, 1, 1) for place in range(3)))


COST_CASES = (
    _case(lambda sizes: mesh.ReduceInGroups(sizes.block())),
    _case(lambda sizes: mesh.MaxInGroups(sizes.block())),
    _case(lambda sizes: mesh.BroadcastInGroups(sizes.block())),
    *_shares(Arena.ACTIVATIONS),
    *_shares(Arena.GRADIENTS),
    _case(lambda sizes: mesh.ClearOtherGroups(sizes.block(Arena.GRADIENTS)), "elements"),
    _case(_divide),
)
