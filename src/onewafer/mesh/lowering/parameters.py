"""Where the parameters of a mesh program lie: a place for each layout that operations ask for."""

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
    """The places of parameters, one after the other in an arena."""

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

        Tables of positions end with the `context`, but for those that are `trained`. If it `packs`,
        one lies right after the other, else each begins in the same bank.
        """
        self.num_elements = 0
        """Elements of all parameters so far."""
        self._tensors, self._sizes = tensors, sizes
        self._period = 1 if packs else period(dtype)
        self._context, self._trained = context, trained
        self._placements: dict[tuple[object, ...], Placement] = {}
        """By name, layouts and copies."""

    @property
    def placements(self) -> tuple[Placement, ...]:
        """All places, in the order of their blocks."""
        return (*self._placements.values(),)

    def place_vector(self, name: str, layout: Layout, *, copies: int = 1) -> Block:
        """Place a parameter of rows, or copies of it, in the order of an activation's rows."""
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
        """Place a weight: its in features lie as `rows` says, its out features as `columns`.

        Of several weights, those of the taps of a kernel, one lies after the other. The host
        multiplies the in features by `factors`, if there are some.
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
        """Place a table of positions: they lie over the other axis than the features of each do.

        Those beyond the context are left out, unless the table is trained.
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
        """Place the bias of an attention whose features lie along an axis.

        Its rows are blocked over that axis, the positions of keys lie over the other in turns.
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

        Raise UnsupportedOperationError if it has no place, or several.
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
        """Return the axis that the in features of a weight lie along, which has been placed."""
        return next(
            placement for placement in self._placements.values() if placement.name == name
        ).rows.axis

    def axis_of_vector(self, name: str) -> Axis:
        """Return the axis that a vector lies along, which has one place."""
        return self.placement(name).columns.axis

    def _reserve(self, rows: int, columns: int) -> Block:
        block = Block(Arena.PARAMETERS, self.num_elements, rows, columns)
        end = block.offset + block.num_elements
        self.num_elements = -(-end // self._period) * self._period
        return block
