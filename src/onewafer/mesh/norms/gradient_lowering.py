"""Gradients of norms: local sums, an all-reduce of one or two numbers a row and group, scaling.

What the forward pass has found of each row stays for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from onewafer import graph
from onewafer.errors import UnsupportedOperationError
from onewafer.mesh.lowering.lowering import Lowering, Lowerings
from onewafer.mesh.norms.gradients import AddToNormWeight, NormBackward, SumNormProducts
from onewafer.mesh.norms.lowering import groups_of, num_copies, relate

if TYPE_CHECKING:
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.norms.gradients import NormTotals
    from onewafer.mesh.norms.lowering import AnyNorm
    from onewafer.mesh.relations import Relations


InputGradient: TypeAlias = graph.RmsNormInputGradient | graph.LayerNormInputGradient
WeightGradient: TypeAlias = graph.RmsNormWeightGradient | graph.LayerNormWeightGradient


class NormInputGradientLowering(Lowering[InputGradient]):
    """Sum products of gradient and input, add them along the axis of the features, scale."""

    works_in_place = True

    def __init__(self, *, is_centred: bool) -> None:
        self._is_centred = is_centred

    def relate(self, operation: InputGradient, relations: Relations) -> None:
        """Let all lie alike; groups of features lie as heads do."""
        gradient, source = operation.gradient, operation.input
        relations.join(source, gradient)
        relate(operation, relations)

    def lower(self, operation: InputGradient, builder: Builder) -> None:
        """Append the mesh operations."""
        gradient, source = (builder.blocks[name] for name in (operation.gradient, operation.input))
        layout = builder.layouts[operation.result.name]
        groups = groups_of(operation, layout)
        found = _found(operation, builder, is_centred=self._is_centred)
        copies = num_copies(operation, operation.weight, builder)
        weight = builder.parameters.place_vector(operation.weight, layout, copies=copies)
        columns = groups.num_groups * (1 if found.sums is None else 2)
        totals = builder.spare(source.rows, columns)
        known = found, groups, layout.axis
        builder.append(SumNormProducts(totals, gradient, source, weight, *known))
        builder.all_reduce(totals, layout.axis)
        result = builder.allocate_in_place(operation)
        builder.append(NormBackward(result, gradient, source, weight, totals, *known))


class NormWeightGradientLowering(Lowering[WeightGradient]):
    """Add up the rows that a PE has, which are all: no exchange at all."""

    def __init__(self, *, is_centred: bool) -> None:
        self._is_centred = is_centred

    def relate(self, operation: WeightGradient, relations: Relations) -> None:
        """Let both operands lie alike."""
        gradient, source = operation.gradient, operation.input
        relations.join(source, gradient)

    def lower(self, operation: WeightGradient, builder: Builder) -> None:
        """Append the mesh operation."""
        name, source = operation.gradient, operation.input
        layout = builder.layouts[name]
        groups = groups_of(operation, layout)
        found = _found(operation, builder, is_centred=self._is_centred)
        if operation.is_shared and groups.num_groups > 1:
            raise UnsupportedOperationError(
                "the gradient of a weight that heads share is not supported on the wafer"
            )
        result = builder.gradient(operation.result.name, columns=layout)
        operands = builder.blocks[name], builder.blocks[source]
        builder.append(AddToNormWeight(result, *operands, found, groups, layout.axis))


def _found(operation: AnyNorm, builder: Builder, *, is_centred: bool) -> NormTotals:
    """Return what the norm has found of each row."""
    key = operation.input, operation.epsilon, operation.groups, is_centred
    found = builder.saved.norms.get(key)
    if found is None:
        raise UnsupportedOperationError("it has no norm before it, which finds the sums of rows")
    return found


LOWERINGS: Lowerings = {
    graph.RmsNormInputGradient: NormInputGradientLowering(is_centred=False),
    graph.LayerNormInputGradient: NormInputGradientLowering(is_centred=True),
    graph.RmsNormWeightGradient: NormWeightGradientLowering(is_centred=False),
    graph.LayerNormWeightGradient: NormWeightGradientLowering(is_centred=True),
}
