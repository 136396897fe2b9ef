"""Cost cases of batched products of two activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.mesh.blocks import Arena, Axis, Block
from onewafer.mesh.cost_case import NUM_PES, CostCase, Sizes, grid
from onewafer.mesh.products.operations import MultiplyBlocks, ProductShape

if TYPE_CHECKING:
    from onewafer.mesh.operation import MeshOperation


@dataclass(frozen=True, slots=True)
class _Product:
    """Operands of a batched product; the first PE has `heads` whole groups of `slots` samples."""

    sizes: Sizes

    def multiply(self, *, is_transposed: bool) -> MeshOperation:
        """Return the product of groups of `share` features, with `group` result columns each."""
        sizes = self.sizes
        inner, columns = sizes.heads * sizes.share, sizes.heads * sizes.group
        shape = ProductShape(
            axis=Axis.X,
            samples=sizes.slots,
            rows=sizes.rows,
            right_rows=sizes.group if is_transposed else sizes.share,
            groups=NUM_PES * sizes.heads,
            left_size=sizes.share,
            result_size=sizes.group,
            is_transposed=is_transposed,
        )
        right = self._block(shape.right_rows, inner if is_transposed else columns)
        left, result = self._block(sizes.rows, inner), self._block(sizes.rows, columns)
        return MultiplyBlocks(result, left, right, Block(Arena.ACTIVATIONS, 0, 1, 1), shape)

    def _block(self, rows: int, columns: int) -> Block:
        return Block(Arena.ACTIVATIONS, 0, self.sizes.slots * rows, columns)


_ROUNDS = ("parts", "parts*samples*rows", "samples*rows*depth")


_SIZES = (
    *grid(rows=(2, 3), heads=(2, 3), share=(4,), slots=(1, 2), group=(6,)),
    *grid(rows=(2, 3), share=(5,), slots=(1, 2), group=(7,)),
)
"""Sizes for which a block of the result differs in length from its rows."""


_FAR_SIZES = (
    *grid(rows=(2,), share=(64, 65), slots=(1,), group=(6, 7)),
    *grid(rows=(2,), share=(64,), slots=(2,), group=(6,)),
)
"""Sizes whose left blocks are wider than the stride of a DSD."""


COST_CASES = (
    CostCase(
        lambda sizes: _Product(sizes).multiply(is_transposed=False),
        rounds=("parts*samples", "samples*depth", *_ROUNDS),
        lengths=("elements", "width"),
        grid=_SIZES,
    ),
    CostCase(
        lambda sizes: _Product(sizes).multiply(is_transposed=True),
        rounds=(
            *("near*samples", "near*samples*depth"),
            *("far*samples", "far*samples*depth", "far*samples*depth*width"),
            *_ROUNDS,
        ),
        lengths=("elements", "width", "1"),
        strides=("stride",),
        grid=(*_SIZES, *_FAR_SIZES),
    ),
)
