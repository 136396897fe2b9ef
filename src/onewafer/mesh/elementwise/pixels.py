"""Factors and shifts of single pixels: a sample is one row of the kernels for vectors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer import graph
from onewafer.mesh.elementwise.unary import InPlaceLowering
from onewafer.mesh.elementwise.vectors import AddBias, ScaleFeatures
from onewafer.mesh.gradients import AddRows
from onewafer.mesh.lowering.lowering import AlikeLowering, Lowerings, OperationType

if TYPE_CHECKING:
    from onewafer.mesh.blocks import Block
    from onewafer.mesh.lowering.builder import Builder


class _PixelsLowering(InPlaceLowering[OperationType]):
    """An operation with stored pixels of one sample, which lie as the rows of the input do."""

    def __init__(self, form: type[AddBias | ScaleFeatures]) -> None:
        self._form = form

    def lower(self, operation: OperationType, builder: Builder) -> None:
        """Append the mesh operation."""
        (source,), (name,) = self.operands(operation), operation.parameter_operands
        stored = builder.parameters.place_vector(name, builder.layouts[operation.result.name])
        block = builder.blocks[source]
        blocks = builder.allocate_in_place(operation), block, stored
        builder.append(self._form(*(_as_samples(each, stored.rows) for each in blocks)))


class SumSamplesLowering(AlikeLowering[graph.SumSamples]):
    """Add up the samples that a PE has, which are all: no exchange but for a redistribution."""

    def lower(self, operation: graph.SumSamples, builder: Builder) -> None:
        """Append the mesh operation that adds."""
        axis = builder.parameters.axis_of_vector(builder.parameter_of(operation.result.name))
        layout = builder.layout_along(operation.input, axis)
        result = builder.gradient(operation.result.name, columns=layout)
        gradient = builder.lay(operation.input, axis)
        blocks = (_as_samples(each, operation.rows) for each in (result, gradient))
        builder.append(AddRows(*blocks))


def _as_samples(block: Block, rows: int) -> Block:
    """Return a block with so many rows of each sample as one with a row for each."""
    return replace(block, rows=block.rows // rows, columns=block.columns * rows)


LOWERINGS: Lowerings = {
    graph.ScalePixels: _PixelsLowering[graph.ScalePixels](ScaleFeatures),
    graph.ShiftPixels: _PixelsLowering[graph.ShiftPixels](AddBias),
    graph.SumSamples: SumSamplesLowering(),
}
