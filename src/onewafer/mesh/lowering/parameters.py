"""Placements of the parameters of a mesh program, one for each layout that operations need."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onewafer.errors import UnsupportedOperationError
from onewafer.mesh.banks import period
from onewafer.mesh.blocks import Arena, Block, Distribution, InTurns, Placement, Role

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from onewafer.graph import DataType, Tensor
    from onewafer.mesh.blocks import Axis, Layout


class Parameters:
    """The placements of parameters, one after the other in their arena."""

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        sizes: Mapping[Axis, int],
        *,
        dtype: DataType,
        context: int | None,
        trained: Collection[str],
        packs: bool = False,
    ) -> None:
        """Take the tensors of a graph by name, the PEs along each axis, and the graph's dtype.

        Tables of positions are cut to the `context`, unless they are `trained`. With `packs`
        parameters are adjacent, else each begins in the same memory bank.
        """
        self.num_elements = 0
        """The number of elements of all parameters so far."""
        self._tensors, self._sizes = tensors, sizes
        self._period = 1 if packs else period(dtype)
        self._context, self._trained = context, trained
        self._placements: dict[tuple[object, ...], Placement] = {}
        """Placements by name, layouts and copies."""

    @property
    def placements(self) -> tuple[Placement, ...]:
        """All placements, in the order of their blocks."""
        return (*self._placements.values(),)

    def place_vector(self, name: str, layout: Layout, *, copies: int = 1) -> Block:
        """Place a row vector, or copies of it, with the layout of an activation's columns."""
        if (name, layout, copies) not in self._placements:
            tensor = self._tensors[name]
            self._placements[name, layout, copies] = Placement(
                name=name,
                role=Role.PARAMETER,
                shape=tensor.shape,
                dtype=tensor.dtype,
                rows=Distribution.LOCAL,
                columns=Distribution.over(layout.axis),
                block=self._reserve(math.prod(tensor.shape[:-1]), layout.columns),
                column_order=layout.order,
                copies=copies,
            )
        return self._placements[name, layout, copies].block

    def place_weight(
        self, name: str, rows: Layout, columns: Layout, *, factors: str | None = None
    ) -> Block:
        """Place a weight with its in features laid out as `rows`, its out features as `columns`.

        The weights of a kernel's taps follow each other. If `factors` is given, the host multiplies
        the in features by that parameter.
        """
        if (name, rows, columns, factors) not in self._placements:
            tensor = self._tensors[name]
            num_matrices = math.prod(tensor.shape[:-2])
            self._placements[name, rows, columns, factors] = Placement(
                name=name,
                role=Role.PARAMETER,
                shape=tensor.shape,
                dtype=tensor.dtype,
                rows=Distribution.over(rows.axis),
                columns=Distribution.over(columns.axis),
                block=self._reserve(num_matrices * rows.columns, columns.columns),
                is_transposed=True,
                row_order=rows.order,
                column_order=columns.order,
                num_matrices=num_matrices,
                input_factors=factors,
            )
        return self._placements[name, rows, columns, factors].block

    def place_table(self, name: str, layout: Layout, *, copies: int = 1) -> Block:
        """Place a table of positions, blocked over the axis that its features do not use.

        Positions beyond the context are left out, unless the table is trained.
        """
        if (name, layout, layout, copies) not in self._placements:
            tensor, across = self._tensors[name], layout.axis.other
            num_rows = tensor.shape[0]
            if name not in self._trained:
                num_rows = min(num_rows, self._context or num_rows)
            self._placements[name, layout, layout, copies] = Placement(
                name=name,
                role=Role.PARAMETER,
                shape=tensor.shape,
                dtype=tensor.dtype,
                rows=Distribution.over(across),
                columns=Distribution.over(layout.axis),
                block=self._reserve(-(-num_rows // self._sizes[across]), layout.columns),
                column_order=layout.order,
                num_rows=num_rows,
                copies=copies,
            )
        return self._placements[name, layout, layout, copies].block

    def place_score_bias(self, name: str, axis: Axis, capacity: int) -> Block:
        """Place the bias of attention scores, for features along `axis`.

        Its rows are blocked over that axis; the positions of keys are distributed cyclically over
        the other axis.
        """
        if (name, axis) not in self._placements:
            tensor = self._tensors[name]
            self._placements[name, axis] = Placement(
                name=name,
                role=Role.PARAMETER,
                shape=tensor.shape,
                dtype=tensor.dtype,
                rows=Distribution.over(axis),
                columns=Distribution.over(axis.other),
                block=self._reserve(-(-tensor.shape[0] // self._sizes[axis]), capacity),
                column_order=InTurns(num_pes=self._sizes[axis.other]),
            )
        return self._placements[name, axis].block

    def placement(self, name: str) -> Placement:
        """Return the only placement of a parameter.

        Raise UnsupportedOperationError if there is none, if there are several, or if it has
        factors.
        """
        placements = [
            placement for placement in self._placements.values() if placement.name == name
        ]
        if len(placements) != 1 or placements[0].input_factors is not None:
            raise UnsupportedOperationError(
                f"{name!r} is stored {len(placements)} times, or multiplied as it is stored; "
                "a parameter that is trained has one place"
            )
        return placements[0]

    def axis_of_weight(self, name: str) -> Axis:
        """Return the axis of the in features of a weight that has been placed."""
        return next(
            placement for placement in self._placements.values() if placement.name == name
        ).rows.axis

    def axis_of_vector(self, name: str) -> Axis:
        """Return the axis of a vector that has one placement."""
        return self.placement(name).columns.axis

    def _reserve(self, rows: int, columns: int) -> Block:
        block = Block(Arena.PARAMETERS, self.num_elements, rows, columns)
        end = block.offset + block.num_elements
        self.num_elements = -(-end // self._period) * self._period
        return block
