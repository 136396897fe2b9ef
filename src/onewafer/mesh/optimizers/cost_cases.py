"""Cost cases of the steps of optimizers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.mesh.blocks import Arena, Block
from onewafer.mesh.cost_case import OF_TRAINING, CostCase, Sizes, grid
from onewafer.mesh.optimizers.clipping import AddSquares, ClampGradients, ScaleGradients
from onewafer.mesh.optimizers.operations import (
    MOST_NUMBERS,
    NUMBERS,
    AdamStep,
    ClearGradients,
    MomentumStep,
    SgdStep,
)
from onewafer.mesh.sizes import CHUNK

if TYPE_CHECKING:
    from onewafer.mesh.operation import MeshOperation


def _case(kind: type[SgdStep | MomentumStep | AdamStep]) -> CostCase:
    """Return a cost case whose rows are whole chunks."""

    def build(sizes: Sizes) -> MeshOperation:
        numbers = Block(NUMBERS, 0, 1, MOST_NUMBERS)
        return kind(sizes.block(Arena.PARAMETERS), numbers)

    return CostCase(
        build,
        rounds=("chunks",),
        lengths=("chunk",),
        grid=grid(rows=(2, 3, 5), columns=(CHUNK, 2 * CHUNK)),
        is_of_singles=True,
        rows=OF_TRAINING,
    )


def _add_squares(sizes: Sizes) -> MeshOperation:
    elements = sizes.rows * sizes.columns
    return AddSquares(Block(Arena.ACTIVATIONS, 0, 1, 1), Block(Arena.GRADIENTS, 0, 1, elements))


def _sweep(kind: type[ScaleGradients | ClampGradients]) -> CostCase:
    def build(sizes: Sizes) -> MeshOperation:
        return kind(sizes.block(Arena.GRADIENTS), Block(NUMBERS, 0, 1, 1))

    return CostCase(build, lengths=("elements",), is_of_singles=True, rows=OF_TRAINING)


COST_CASES = (
    CostCase(
        lambda sizes: ClearGradients(sizes.block(Arena.GRADIENTS)),
        lengths=("elements",),
        is_of_singles=True,
        rows=OF_TRAINING,
    ),
    _case(SgdStep),
    _case(MomentumStep),
    _case(AdamStep),
    CostCase(
        _add_squares,
        rounds=("chunks",),
        lengths=("chunk",),
        grid=grid(rows=(2, 3, 5), columns=(CHUNK, 2 * CHUNK)),
        is_of_singles=True,
        rows=OF_TRAINING,
    ),
    _sweep(ScaleGradients),
    _sweep(ClampGradients),
)
