"""Element-wise operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.graph import Activation, Relu, Scale
from onewafer.mesh import operations as mesh
from onewafer.mesh.lowering.lowering import Lowering, OperationType

if TYPE_CHECKING:
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations


class _UnaryLowering(Lowering[OperationType]):
    """An operation on one tensor."""

    works_in_place = True

    def relate(self, operation: OperationType, relations: Relations) -> None:
        """Let the result lie as the input does."""
        (source,) = self.operands(operation)
        relations.join(source, operation.result.name)


class VectorLowering(_UnaryLowering[OperationType]):
    """An operation with a stored row, which lies as the rows of the input do."""

    def __init__(self, form: type[mesh.AddBias | mesh.ScaleFeatures]) -> None:
        self._form = form

    def lower(self, operation: OperationType, builder: Builder) -> None:
        """Append the operation."""
        (source,), (name,) = self.operands(operation), operation.parameter_operands
        vector = builder.place_vector(name, builder.layouts[operation.result.name])
        block = builder.blocks[source]
        builder.append(self._form(builder.allocate_in_place(operation), block, vector))


class ReluLowering(_UnaryLowering[Relu]):
    """Take the maximum with zero."""

    def lower(self, operation: Relu, builder: Builder) -> None:
        """Append the maximum."""
        source = builder.blocks[operation.input]
        builder.append(mesh.Relu(builder.allocate_in_place(operation), source))


class ScaleLowering(_UnaryLowering[Scale]):
    """Multiply by a number."""

    def lower(self, operation: Scale, builder: Builder) -> None:
        """Append the multiplication."""
        source = builder.blocks[operation.input]
        result = builder.allocate_in_place(operation)
        builder.append(mesh.Scale(result, source, operation.factor))


class ActivationLowering(_UnaryLowering[Activation]):
    """Apply a function to every element."""

    def lower(self, operation: Activation, builder: Builder) -> None:
        """Append the function."""
        source = builder.blocks[operation.input]
        result = builder.allocate_in_place(operation)
        builder.append(mesh.Activation(result, source, operation.function))


class PairLowering(Lowering[OperationType]):
    """An operation on two tensors; the right one is redistributed if their axes differ."""

    works_in_place = True

    def __init__(self, form: type[mesh.Add | mesh.Multiply]) -> None:
        self._form = form

    def relate(self, operation: OperationType, relations: Relations) -> None:
        """Let the result lie as the left operand does, and the right one too if it can."""
        left, right = self.operands(operation)
        relations.join(left, operation.result.name)
        relations.join_if_possible(right, operation.result.name)

    def pair(self, operation: OperationType) -> tuple[str, str]:
        """Return both operands."""
        left, right = self.operands(operation)
        return left, right

    def lower(self, operation: OperationType, builder: Builder) -> None:
        """Append the operation."""
        builder.append(self._form(*builder.allocate_pair(operation, *self.pair(operation))))
