"""Cost cases of norms and softmax."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.mesh import norms as mesh
from onewafer.mesh.blocks import Arena, Axis, Block
from onewafer.mesh.cost_case import OF_SAMPLES, OF_TRAINING, ROWS_AND_INNER, CostCase, Sizes, grid
from onewafer.mesh.norms.arrays import Groups
from onewafer.mesh.norms.gradients import AddToNormWeight, NormBackward, NormTotals, SumNormProducts
from onewafer.mesh.sizes import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.mesh.operation import MeshOperation


def _store_normalized(sizes: Sizes) -> MeshOperation:
    sums = replace(sizes.block(), columns=sizes.heads * sizes.columns + 1)
    return mesh.StoreNormalized((sizes.block(),) * sizes.heads, sums, Groups(1, 8), 1e-5)


@dataclass(frozen=True, slots=True)
class _Norm:
    """Operands of a norm over rows of `inner` whole chunks."""

    sizes: Sizes

    @property
    def groups(self) -> Groups:
        """One group of all features of all PEs."""
        return Groups(1, self.sizes.features(self.input.columns))

    @property
    def input(self) -> Block:
        """Rows of whole chunks."""
        return Block(Arena.ACTIVATIONS, 0, self.sizes.rows, CHUNK * self.sizes.inner)

    @property
    def totals(self) -> Block:
        """One number for each row."""
        return Block(Arena.ACTIVATIONS, 0, self.sizes.rows, 1)

    @property
    def vector(self) -> Block:
        """A weight or bias."""
        return Block(Arena.PARAMETERS, 0, 1, self.input.columns)

    def sum_groups(self) -> MeshOperation:
        """Return the first step of LayerNorm."""
        return mesh.SumGroups(self.totals, self.input, self.groups, Axis.X)

    def spread(self) -> MeshOperation:
        """Return the step that gives each feature the mean of its group."""
        return mesh.SpreadGroups(self.input, self.totals, self.groups, Axis.X)

    def sum_squares(self, sums: Block | None) -> MeshOperation:
        """Return the second step of LayerNorm, or the first step of RmsNorm."""
        return mesh.SumSquares(self.totals, self.input, self.groups, Axis.X, sums)

    def sum_row_squares(self) -> MeshOperation:
        """Return the first step of an RmsNorm that is applied to products."""
        totals = replace(self.totals, columns=7)
        groups = Groups(1, self.groups.num_features)
        return mesh.SumRowSquares(totals, self.input, groups, Axis.X)

    def normalize(self, sums: Block | None) -> MeshOperation:
        """Return the last step of a norm."""
        bias = None if sums is None else self.vector
        blocks = self.input, self.input, self.totals, self.vector
        return mesh.Normalize(*blocks, self.groups, Axis.X, 1e-5, sums, bias)

    def sum_products(self, sums: Block | None) -> MeshOperation:
        """Return the first step of a backward pass."""
        blocks = self.totals, self.input, self.input, self.vector
        return SumNormProducts(*blocks, self.found(sums), self.groups, Axis.X)

    def back(self, sums: Block | None) -> MeshOperation:
        """Return the last step of a backward pass."""
        blocks = self.input, self.input, self.input, self.vector, self.totals
        return NormBackward(*blocks, self.found(sums), self.groups, Axis.X)

    def add_to_weight(self, sums: Block | None) -> MeshOperation:
        """Return the gradient of the weight."""
        weight = replace(self.vector, arena=Arena.GRADIENTS)
        blocks = weight, self.input, self.input
        return AddToNormWeight(*blocks, self.found(sums), self.groups, Axis.X)

    def found(self, sums: Block | None) -> NormTotals:
        """Return the statistics of the forward pass."""
        return NormTotals(self.totals, sums, 1e-5)

    def find_maxima(self) -> MeshOperation:
        """Return the first step of softmax."""
        return mesh.FindGroupMaxima(self.totals, self.input, self.groups, Axis.X)

    def weigh(self) -> MeshOperation:
        """Return the second step of softmax."""
        blocks = self.input, self.totals, self.input, self.totals
        return mesh.WeighGroups(*blocks, self.groups, Axis.X)

    def divide(self) -> MeshOperation:
        """Return the last step of softmax."""
        return mesh.DivideGroups(self.input, self.input, self.totals, self.groups, Axis.X)


def _norm(
    build: Callable[[_Norm], MeshOperation], *, clears: bool = False, totals: str = "rows"
) -> CostCase:
    return CostCase(
        lambda sizes: build(_Norm(sizes)),
        rounds=("pieces", "pieces*rows", *(("padded", "padded*rows") if clears else ())),
        lengths=(totals, "piece", *(("absent",) if clears else ())),
        grid=(*ROWS_AND_INNER, *(grid(rows=(2, 5), padding=(7,)) if clears else ())),
    )


def _of_training(sample: CostCase) -> CostCase:
    return replace(sample, is_of_singles=True, rows=OF_TRAINING)


def _gradients(*, has_sums: bool) -> tuple[CostCase, ...]:
    """Return the cost cases of the backward pass of LayerNorm (`has_sums`), or of RmsNorm."""

    def sums(norm: _Norm) -> Block | None:
        return norm.totals if has_sums else None

    return (
        _of_training(
            _norm(
                lambda norm: norm.sum_products(sums(norm)),
                totals="2*rows" if has_sums else "rows",
            )
        ),
        _of_training(_norm(lambda norm: norm.back(sums(norm)), clears=True)),
        _of_training(_norm(lambda norm: norm.add_to_weight(sums(norm)))),
    )


def _short_norm(build: Callable[[_Norm], MeshOperation], *, clears: bool = False) -> CostCase:
    """Return the cost case of a kernel with a shortcut for rows of one chunk."""
    cleared = ("padded", "padded*rows", "short*rows", "empty*rows") if clears else ()
    return CostCase(
        lambda sizes: build(_Norm(sizes)),
        rounds=("pieces", "pieces*rows", "filled", "filled*rows", "short", "empty", *cleared),
        lengths=("rows", "piece", *(("absent",) if clears else ())),
        grid=(
            *ROWS_AND_INNER,
            *grid(rows=(2, 5), padding=(7, CHUNK)),
            *(grid(rows=(2, 5), padding=(CHUNK,), inner=(2,)) if clears else ()),
        ),
    )


COST_CASES = (
    CostCase(
        _store_normalized,
        rounds=("rows", "parts", "parts*rows"),
        lengths=("columns", "whole"),
        grid=grid(rows=(2, 3, 5), heads=(2, 3)),
    ),
    _short_norm(lambda norm: norm.sum_squares(None)),
    CostCase(
        lambda sizes: _Norm(sizes).sum_row_squares(),
        rounds=("rows", "pieces*rows"),
        lengths=("piece",),
    ),
    _short_norm(lambda norm: norm.normalize(None), clears=True),
    _norm(lambda norm: norm.sum_groups()),
    _short_norm(lambda norm: norm.sum_squares(norm.totals)),
    _short_norm(lambda norm: norm.normalize(norm.totals), clears=True),
    _norm(lambda norm: norm.find_maxima()),
    _norm(lambda norm: norm.weigh()),
    _norm(lambda norm: norm.divide(), clears=True),
    *_gradients(has_sums=False),
    *_gradients(has_sums=True),
    replace(
        _norm(lambda norm: norm.spread(), clears=True),
        is_of_singles=True,
        rows=OF_SAMPLES,
    ),
)
