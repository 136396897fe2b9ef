"""Operations on the rows of a tensor and one stored row: classes, lowering, cost cases."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer import graph
from onewafer.graph import FLOATING
from onewafer.mesh import arithmetic
from onewafer.mesh.banks import count_shared
from onewafer.mesh.cost_case import CostCase
from onewafer.mesh.distances import Bounded
from onewafer.mesh.elementwise.unary import InPlaceLowering
from onewafer.mesh.gradients import AddRows
from onewafer.mesh.kinds import ELEMENT, Kind, Module
from onewafer.mesh.lowering.lowering import AlikeLowering, Lowerings, OperationType
from onewafer.mesh.operation import Conflicts, MeshOperation
from onewafer.mesh.sizes import block_entry, block_sizes, in_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.graph import DataType
    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.distances import Distances
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

FACTORS = Module("factors", ELEMENT)


@dataclass(frozen=True, slots=True)
class _WithVector(MeshOperation):
    """An operation on a block and one vector, applied to each row."""

    result: Block
    input: Block
    vector: Block

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.result, self.input, self.vector)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return block_sizes(program, self.result, launch)

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the rows that begin in the same banks as the vector."""
        num_rows = program.num_rows(self.input, launch)
        count = count_shared(self.input, self.vector, num_rows, program.dtype)
        return Conflicts(count, self.dsd_operation(program.dtype), self.result.columns)

    @abstractmethod
    def dsd_operation(self, dtype: DataType) -> str:
        """Return the lower-case name of the kernel's DSD operation."""


@dataclass(frozen=True, slots=True)
class AddBias(_WithVector):
    """Add one row to each row in the program's dtype, one rounding an element."""

    kinds = (
        Kind(
            19,
            "add_bias",
            """
            const vector = parameter(right, columns);
            bias.run(activation(result, columns), activation(left, columns), vector, rows, columns);
            """,
            (Module("bias", ELEMENT),),
        ),
    )

    def execute(self, memories: Memories) -> None:
        rows = arithmetic.add(memories.matrix(self.input), memories.matrix(self.vector))
        memories.write(self.result, rows)

    def dsd_operation(self, dtype: DataType) -> str:
        return in_type("fadd", dtype)


@dataclass(frozen=True, slots=True)
class ScaleFeatures(_WithVector):
    """Multiply each row by one row in the program's dtype, one rounding an element."""

    kinds = (
        Kind(
            20,
            "scale_features",
            """
            const vector = parameter(right, columns);
            factors.run(activation(result, columns), activation(left, columns), vector,
                        rows, columns);
            """,
            (FACTORS,),
        ),
    )

    def execute(self, memories: Memories) -> None:
        rows = arithmetic.multiply(memories.matrix(self.input), memories.matrix(self.vector))
        memories.write(self.result, rows)

    def dsd_operation(self, dtype: DataType) -> str:
        return in_type("fmul", dtype)


class VectorLowering(InPlaceLowering[OperationType]):
    """An operation with a stored row that has the layout of the input's rows."""

    def __init__(self, form: type[AddBias | ScaleFeatures]) -> None:
        self._form = form

    def lower(self, operation: OperationType, builder: Builder) -> None:
        (source,), (name,) = operation.activation_operands, operation.parameter_operands
        vector = builder.parameters.place_vector(name, builder.layouts[operation.result.name])
        block = builder.blocks[source]
        builder.append(self._form(builder.allocate_in_place(operation), block, vector))


class AddBiasLowering(VectorLowering[graph.AddBias]):
    """Add a stored row."""

    bounded_types = FLOATING

    def bound(self, operation: graph.AddBias, distances: Distances) -> Bounded:
        source, bias = distances.of(operation.input), distances.of(operation.bias)
        return distances.rounded(Bounded(source.exact + bias.exact, source.error))


def _case(form: type[AddBias | ScaleFeatures]) -> CostCase:
    return CostCase(
        lambda sizes: form(sizes.block(), sizes.block(), sizes.row()),
        rounds=("rows",),
        lengths=("columns",),
    )


COST_CASES = (_case(AddBias), _case(ScaleFeatures))


class _PixelsLowering(InPlaceLowering[OperationType]):
    """An operation with one stored sample, whose pixels lie as the input's rows do."""

    def __init__(self, form: type[AddBias | ScaleFeatures]) -> None:
        self._form = form

    def lower(self, operation: OperationType, builder: Builder) -> None:
        (source,), (name,) = operation.activation_operands, operation.parameter_operands
        stored = builder.parameters.place_vector(name, builder.layouts[operation.result.name])
        block = builder.blocks[source]
        blocks = builder.allocate_in_place(operation), block, stored
        builder.append(self._form(*(_as_samples(each, stored.rows) for each in blocks)))


class SumSamplesLowering(AlikeLowering[graph.SumSamples]):
    """Sum the samples, all of which are local; only redistributed operands move between PEs."""

    def lower(self, operation: graph.SumSamples, builder: Builder) -> None:
        axis = builder.parameters.axis_of_vector(builder.parameter_of(operation.result.name))
        layout = builder.layout_along(operation.input, axis)
        result = builder.gradient(operation.result.name, columns=layout)
        gradient = builder.lay(operation.input, axis)
        blocks = (_as_samples(each, operation.rows) for each in (result, gradient))
        builder.append(AddRows(*blocks))


def _as_samples(block: Block, rows: int) -> Block:
    """Return a block of samples as a block with one row for each sample."""
    return replace(block, rows=block.rows // rows, columns=block.columns * rows)


LOWERINGS: Lowerings = {
    graph.AddBias: AddBiasLowering(AddBias),
    graph.ScaleFeatures: VectorLowering[graph.ScaleFeatures](ScaleFeatures),
    graph.ScalePixels: _PixelsLowering[graph.ScalePixels](ScaleFeatures),
    graph.ShiftPixels: _PixelsLowering[graph.ShiftPixels](AddBias),
    graph.SumSamples: SumSamplesLowering(),
}
