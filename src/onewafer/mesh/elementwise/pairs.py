"""Sums and products of two tensors, element by element: operations, lowering, cost cases."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer import graph
from onewafer.graph import FLOATING, DataType
from onewafer.mesh import arithmetic
from onewafer.mesh.banks import bank
from onewafer.mesh.cost_case import CostCase
from onewafer.mesh.distances import Bounded
from onewafer.mesh.kinds import ELEMENT, Kind, Module
from onewafer.mesh.lowering.lowering import Lowering, Lowerings, OperationType
from onewafer.mesh.operation import Conflicts, MeshOperation
from onewafer.mesh.sizes import block_entry, block_sizes, in_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.distances import Distances
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape
    from onewafer.mesh.relations import Relations


@dataclass(frozen=True, slots=True)
class _Binary(MeshOperation):
    """An operation that reads two blocks with one DSD operation."""

    result: Block
    left: Block
    right: Block

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.result, self.left, self.right)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return block_sizes(program, self.result, launch)

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the DSD operation if both operands begin in the same bank."""
        left, right = (bank(block.offset, program.dtype) for block in (self.left, self.right))
        elements = self.sizes(program, launch)["elements"]
        return Conflicts(int(left == right), self.dsd_operation(program.dtype), elements)

    @abstractmethod
    def dsd_operation(self, dtype: DataType) -> str:
        """Return the lower-case name of the kernel's DSD operation."""


@dataclass(frozen=True, slots=True)
class Add(_Binary):
    """Add two blocks in the program's dtype, one rounding an element."""

    kinds = (
        Kind(
            22,
            "add",
            "add.run(activation(result, n), activation(left, n), activation(right, n));",
            (Module("add", ELEMENT),),
        ),
    )

    def execute(self, memories: Memories) -> None:
        total = arithmetic.add(memories.read(self.left), memories.read(self.right))
        memories.write(self.result, total)

    def dsd_operation(self, dtype: DataType) -> str:
        return in_type("fadd", dtype)


@dataclass(frozen=True, slots=True)
class Multiply(_Binary):
    """Multiply two blocks in the program's dtype, one rounding an element."""

    kinds = (
        Kind(
            23,
            "multiply",
            "multiply.run(activation(result, n), activation(left, n), activation(right, n));",
            (Module("multiply", ELEMENT),),
        ),
    )

    def execute(self, memories: Memories) -> None:
        product = arithmetic.multiply(memories.read(self.left), memories.read(self.right))
        memories.write(self.result, product)

    def dsd_operation(self, dtype: DataType) -> str:
        return in_type("fmul", dtype)


class PairLowering(Lowering[OperationType]):
    """An operation on two tensors; the right one is redistributed if their axes differ."""

    works_in_place = True

    def __init__(self, form: type[Add | Multiply]) -> None:
        self._form = form

    def relate(self, operation: OperationType, relations: Relations) -> None:
        """Give the result the layout of the left operand, and the right operand too if possible."""
        left, right = operation.activation_operands
        relations.join(left, operation.result.name)
        relations.join_if_possible(right, operation.result.name)

    def pair(self, operation: OperationType) -> tuple[str, str]:
        left, right = operation.activation_operands
        return left, right

    def lower(self, operation: OperationType, builder: Builder) -> None:
        builder.append(self._form(*builder.allocate_pair(operation, *self.pair(operation))))


class AddLowering(PairLowering[graph.Add]):
    """Add two tensors."""

    bounded_types = FLOATING

    def lower(self, operation: graph.Add, builder: Builder) -> None:
        """Append the addition, unless the result is a parameter's gradient, summed in place."""
        if not builder.is_parameter_gradient(operation.result.name):
            PairLowering[graph.Add].lower(self, operation, builder)

    def bound(self, operation: graph.Add, distances: Distances) -> Bounded:
        left, right = distances.of(operation.left), distances.of(operation.right)
        error = left.error + right.error
        return distances.rounded(Bounded(left.exact + right.exact, error))


class MultiplyLowering(PairLowering[graph.Multiply]):
    """Multiply two tensors."""

    bounded_types = (DataType.F32,)

    def bound(self, operation: graph.Multiply, distances: Distances) -> Bounded:
        left, right = distances.of(operation.left), distances.of(operation.right)
        exact = left.exact * right.exact
        error = left.magnitude * right.magnitude - np.abs(exact)
        return distances.rounded(Bounded(exact, error))


LOWERINGS: Lowerings = {
    graph.Add: AddLowering(Add),
    graph.Multiply: MultiplyLowering(Multiply),
}
COST_CASES = (
    CostCase(lambda sizes: Add(*[sizes.block()] * 3), lengths=("elements",)),
    CostCase(lambda sizes: Multiply(*[sizes.block()] * 3), lengths=("elements",)),
)
