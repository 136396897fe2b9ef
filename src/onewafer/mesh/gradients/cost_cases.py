"""Cost cases of the gradients of dense layers and relu."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.mesh import gradients as mesh
from onewafer.mesh.blocks import Arena, Axis, Block
from onewafer.mesh.cost_case import OF_TRAINING, CostCase, Sizes, grid
from onewafer.mesh.sizes import CHUNK

if TYPE_CHECKING:
    from onewafer.mesh.operation import MeshOperation


def _multiply(sizes: Sizes, axis: Axis) -> MeshOperation:
    operand = Block(Arena.ACTIVATIONS, 0, sizes.rows, sizes.inner)
    weight = Block(Arena.PARAMETERS, 0, sizes.columns, sizes.inner)
    piece = replace(weight, arena=Arena.ACTIVATIONS, rows=sizes.inner, columns=sizes.columns)
    features = sizes.features(sizes.columns)
    return mesh.MultiplyTransposed(sizes.block(), operand, weight, piece, axis, features)


def _add_products(sizes: Sizes) -> MeshOperation:
    operand = Block(Arena.ACTIVATIONS, 0, sizes.rows, sizes.inner)
    sums = Block(Arena.GRADIENTS, 0, sizes.inner, sizes.columns)
    features = sizes.features(sizes.inner)
    return mesh.AddOuterProducts(sums, operand, sizes.block(), Axis.X, features)


def _cases_along(axis: Axis) -> CostCase:
    return CostCase(
        lambda sizes: _multiply(sizes, axis),
        rounds=(
            *("near", "near*inner", "far", "far*inner", "far*inner*columns"),
            *("filled", "filled*rows", "filled*rows*inner", "cut*rows"),
        ),
        lengths=("elements", "columns", "absent", "1"),
        strides=("stride",),
        grid=(
            *grid(rows=(2, 3, 5), inner=(4, 7)),  # a stride of 1 would look like a constant
            *grid(rows=(2, 3), inner=(4, 7), padding=(4, 11)),
            *grid(rows=(2, 3), inner=(130, 141), columns=(2, 3)),
        ),
        is_of_singles=True,
        rows=OF_TRAINING,
    )


COST_CASES = (
    _cases_along(Axis.X),
    _cases_along(Axis.Y),
    CostCase(
        _add_products,
        rounds=("rows", "rows*inner"),
        lengths=("columns",),
        is_of_singles=True,
        rows=OF_TRAINING,
    ),
    CostCase(
        lambda sizes: mesh.AddRows(sizes.row(arena=Arena.GRADIENTS), sizes.block()),
        rounds=("rows",),
        lengths=("columns",),
        is_of_singles=True,
        rows=OF_TRAINING,
    ),
    CostCase(
        lambda sizes: mesh.ReluGradient(*[sizes.block()] * 3),
        rounds=("chunks",),
        lengths=("chunk",),
        grid=grid(rows=(2, 3, 5), columns=(CHUNK, 2 * CHUNK)),
        is_of_singles=True,
        rows=OF_TRAINING,
    ),
)
