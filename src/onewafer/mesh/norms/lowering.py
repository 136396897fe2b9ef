"""Lowering of norms, their gradients, and softmax: local sums, all-reduces, local scaling.

The gradients reuse the statistics that the forward pass has saved for each row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np

from onewafer import graph
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import DataType, LayerNorm, Linear, RmsNorm, Softmax
from onewafer.mesh.dense.lowering import joined
from onewafer.mesh.distances import Bounded
from onewafer.mesh.lowering.lowering import Lowering, Lowerings
from onewafer.mesh.norms import (
    DivideGroups,
    FindGroupMaxima,
    Normalize,
    SumGroups,
    SumSquares,
    WeighGroups,
)
from onewafer.mesh.norms.arrays import Groups
from onewafer.mesh.norms.gradients import AddToNormWeight, NormBackward, NormTotals, SumNormProducts
from onewafer.mesh.relations import Heads

if TYPE_CHECKING:
    from onewafer.graph import (
        LayerNormInputGradient,
        LayerNormWeightGradient,
        RmsNormInputGradient,
        RmsNormWeightGradient,
    )
    from onewafer.mesh.blocks import Block, Layout
    from onewafer.mesh.distances import Distances
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations

    AnyNorm: TypeAlias = (
        RmsNorm
        | LayerNorm
        | RmsNormInputGradient
        | LayerNormInputGradient
        | RmsNormWeightGradient
        | LayerNormWeightGradient
    )


InputGradient: TypeAlias = graph.RmsNormInputGradient | graph.LayerNormInputGradient
OfGroups = TypeVar("OfGroups", RmsNorm, LayerNorm, Softmax, InputGradient)


class _OfGroupsLowering(Lowering[OfGroups]):
    """An operation on groups of features, in place of an operand that is not read again."""

    works_in_place = True

    def relate(self, operation: OfGroups, relations: Relations) -> None:
        """Give the result the layout of the input, and groups of features the layout of heads."""
        relations.join(operation.input, operation.result.name)
        if operation.groups > 1:
            features = operation.result.shape[-1]
            relations.arrange(operation.input, Heads.of(features // operation.groups))


class RmsNormLowering(_OfGroupsLowering[RmsNorm]):
    """Sum squares, all-reduce them along the axis of the features, scale.

    If only the linear layers of the next step read the result, their products are normalized
    instead: the squares then share the all-reduce of the products.
    """

    bounded_types = (DataType.F32,)

    def lower(self, operation: RmsNorm, builder: Builder) -> None:
        if _may_wait(operation, builder):
            builder.put_off_norm(operation)
            return
        layout = builder.layouts[operation.result.name]
        groups = groups_of(operation, layout)
        copies = num_copies(operation, operation.weight, builder)
        weight = builder.parameters.place_vector(operation.weight, layout, copies=copies)
        source = builder.blocks[operation.input]
        squares = _totals(operation, builder, groups)
        builder.append(SumSquares(squares, source, groups, layout.axis))
        builder.all_reduce(squares, layout.axis)
        found = NormTotals(squares, None, operation.epsilon)
        builder.saved.norms[operation.input, operation.epsilon, operation.groups, False] = found
        result = builder.allocate_in_place(operation)
        builder.append(
            Normalize(result, source, squares, weight, groups, layout.axis, operation.epsilon)
        )

    def bound(self, operation: RmsNorm, distances: Distances) -> Bounded:
        return _bound(operation, distances.of(operation.input), distances)


def _may_wait(operation: RmsNorm, builder: Builder) -> bool:
    """Tell whether only linear layers read the norm, all of them in the next step."""
    name = operation.result.name
    readers = builder.readers(name)
    if builder.trains or operation.groups > 1 or builder.is_output(name) or not readers:
        return False
    first = readers[0]
    return (
        first is builder.next_operation
        and isinstance(first, Linear)
        and builder.size(builder.layouts[name].axis) > 1
        and builder.layouts[name].axis is not builder.layouts[first.result.name].axis
        and len(joined(first, builder)) == len(readers)
    )


def _totals(operation: RmsNorm | LayerNorm, builder: Builder, groups: Groups) -> Block:
    """Return a block for statistics of rows, which is kept for the backward pass in training."""
    rows = builder.blocks[operation.input].rows
    if builder.trains:
        last = builder.last_reader(operation.input)
        return builder.spare(rows, groups.num_groups, until=last)
    return builder.scratch(rows, groups.num_groups)


class LayerNormLowering(_OfGroupsLowering[LayerNorm]):
    """Sum, sum squared differences from the mean, scale; an all-reduce after each sum."""

    bounded_types = (DataType.F32,)

    def lower(self, operation: LayerNorm, builder: Builder) -> None:
        layout = builder.layouts[operation.result.name]
        axis, groups = layout.axis, groups_of(operation, layout)
        weight, bias = (
            builder.parameters.place_vector(
                vector, layout, copies=num_copies(operation, vector, builder)
            )
            for vector in (operation.weight, operation.bias)
        )
        source = builder.blocks[operation.input]
        sums, squares = (_totals(operation, builder, groups) for _ in range(2))
        builder.append(SumGroups(sums, source, groups, axis))
        builder.all_reduce(sums, axis)
        builder.append(SumSquares(squares, source, groups, axis, sums))
        builder.all_reduce(squares, axis)
        found = NormTotals(squares, sums, operation.epsilon)
        builder.saved.norms[operation.input, operation.epsilon, operation.groups, True] = found
        result = builder.allocate_in_place(operation)
        builder.append(
            Normalize(result, source, squares, weight, groups, axis, operation.epsilon, sums, bias)
        )

    def bound(self, operation: LayerNorm, distances: Distances) -> Bounded:
        source = distances.of(operation.input)
        groups = source.reshape(*source.exact.shape[:-1], operation.groups, -1)
        roundings = groups.exact.shape[-1] + distances.num_pes + 2
        mean = groups.exact.mean(axis=-1, keepdims=True)
        distance = groups.error.mean(axis=-1, keepdims=True) + distances.gamma(
            roundings
        ) * groups.magnitude.mean(axis=-1, keepdims=True)
        differences = groups.exact - mean
        error = groups.error + distance + distances.gamma(1) * np.abs(differences)
        scaled = _bound(operation, Bounded(differences, error), distances)
        return distances.rounded(scaled)


def _bound(operation: RmsNorm | LayerNorm, source: Bounded, distances: Distances) -> Bounded:
    """Return groups over the root of their mean square, times a weight, with the error bound.

    If the mean square t + ε has the error d, its root has the relative error d / 2 (t + ε − d), and
    `rsqrt` adds 1.5 units in the last place.
    """
    exact = distances.exact[operation.result.name]
    groups = source.reshape(*exact.shape[:-1], operation.groups, -1)
    squares = groups.exact**2
    gamma = distances.gamma(groups.exact.shape[-1] + distances.num_pes + 3)
    off = (groups.magnitude**2 - squares + gamma * groups.magnitude**2).mean(axis=-1, keepdims=True)
    mean = squares.mean(axis=-1, keepdims=True) + operation.epsilon
    share = np.where(off < mean, off / (2 * np.maximum(mean - off, 1e-300)), np.inf)
    share += 3 * distances.gamma(1)
    weight = distances.of(operation.weight).exact.reshape(-1, groups.exact.shape[-1])
    weight = np.abs(weight) / np.sqrt(mean)
    error = weight * (groups.error * (1 + share) + np.abs(groups.exact) * share)
    error += distances.gamma(4) * weight * groups.magnitude * (1 + share)
    return distances.rounded(Bounded(exact, error.reshape(exact.shape)))


def groups_of(operation: AnyNorm | Softmax, layout: Layout) -> Groups:
    """Return how the features of an operation's input form groups."""
    members = layout.order.members if operation.groups > 1 else 1
    return Groups(operation.groups, operation.result.shape[-1] // operation.groups, members)


def num_copies(operation: AnyNorm, vector: str, builder: Builder) -> int:
    """Return the number of groups that share a weight or bias; 1 if each has its own."""
    has_all = builder.tensor(vector).shape == operation.result.shape[-1:]
    return 1 if has_all else operation.groups


class SoftmaxLowering(_OfGroupsLowering[Softmax]):
    """Find the maximum, compute exponentials and their sums, divide."""

    def lower(self, operation: Softmax, builder: Builder) -> None:
        layout, source = builder.layouts[operation.result.name], builder.blocks[operation.input]
        axis, groups = layout.axis, groups_of(operation, layout)
        maxima, totals = (builder.scratch(source.rows, groups.num_groups) for _ in range(2))
        builder.append(FindGroupMaxima(maxima, source, groups, axis))
        builder.all_reduce_max(maxima, axis)
        result = builder.allocate_in_place(operation)
        weights = builder.sums_of(result)
        builder.append(WeighGroups(weights, totals, source, maxima, groups, axis))
        builder.all_reduce(totals, axis)
        builder.append(DivideGroups(result, weights, totals, groups, axis))


WeightGradient: TypeAlias = graph.RmsNormWeightGradient | graph.LayerNormWeightGradient


class NormInputGradientLowering(_OfGroupsLowering[InputGradient]):
    """Sum products of gradient and input, all-reduce them along the features' axis, scale."""

    def __init__(self, *, is_centred: bool) -> None:
        self._is_centred = is_centred

    def relate(self, operation: InputGradient, relations: Relations) -> None:
        relations.join(operation.input, operation.gradient)
        super().relate(operation, relations)

    def lower(self, operation: InputGradient, builder: Builder) -> None:
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
    """Add up rows locally: a PE has all rows of its columns."""

    def __init__(self, *, is_centred: bool) -> None:
        self._is_centred = is_centred

    def relate(self, operation: WeightGradient, relations: Relations) -> None:
        relations.join(operation.input, operation.gradient)

    def lower(self, operation: WeightGradient, builder: Builder) -> None:
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
    """Return the statistics that the norm's forward pass has saved."""
    key = operation.input, operation.epsilon, operation.groups, is_centred
    found = builder.saved.norms.get(key)
    if found is None:
        raise UnsupportedOperationError("it has no norm before it, which finds the sums of rows")
    return found


LOWERINGS: Lowerings = {
    RmsNorm: RmsNormLowering(),
    LayerNorm: LayerNormLowering(),
    Softmax: SoftmaxLowering(),
    graph.RmsNormInputGradient: NormInputGradientLowering(is_centred=False),
    graph.LayerNormInputGradient: NormInputGradientLowering(is_centred=True),
    graph.RmsNormWeightGradient: NormWeightGradientLowering(is_centred=False),
    graph.LayerNormWeightGradient: NormWeightGradientLowering(is_centred=True),
}
