"""Operations whose elements meet only those in the same place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.graph import Add, AddBias, Relu
from onewafer.mesh import operations as mesh
from onewafer.mesh.lowering.lowering import Lowering

if TYPE_CHECKING:
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.orientation import Relations


class AddBiasLowering(Lowering[AddBias]):
    """Add a row that lies as the rows of the input do."""

    works_in_place = True

    def relate(self, operation: AddBias, relations: Relations) -> None:
        """Let the result lie as the input does."""
        relations.join(operation.input, operation.result.name)

    def lower(self, operation: AddBias, builder: Builder) -> None:
        """Append the addition."""
        bias = builder.place_vector(operation.bias, builder.layouts[operation.result.name])
        source = builder.blocks[operation.input]
        builder.append(mesh.AddBias(builder.allocate_in_place(operation), source, bias))


class ReluLowering(Lowering[Relu]):
    """Take the maximum with zero."""

    works_in_place = True

    def relate(self, operation: Relu, relations: Relations) -> None:
        """Let the result lie as the input does."""
        relations.join(operation.input, operation.result.name)

    def lower(self, operation: Relu, builder: Builder) -> None:
        """Append the maximum."""
        source = builder.blocks[operation.input]
        builder.append(mesh.Relu(builder.allocate_in_place(operation), source))


class AddLowering(Lowering[Add]):
    """Add two tensors; the right one is turned first if they lie along different axes."""

    works_in_place = True

    def relate(self, operation: Add, relations: Relations) -> None:
        """Let the result lie as the left operand does, and the right one too if it can."""
        relations.join(operation.left, operation.result.name)
        relations.join_if_possible(operation.right, operation.result.name)

    def pair(self, operation: Add) -> tuple[str, str]:
        """Return both operands."""
        return operation.left, operation.right

    def lower(self, operation: Add, builder: Builder) -> None:
        """Append the addition."""
        result, left, right = builder.allocate_pair(operation, operation.left, operation.right)
        builder.append(mesh.Add(result, left, right))
