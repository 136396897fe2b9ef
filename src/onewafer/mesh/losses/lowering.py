"""Lowering of losses of rows with classes, and of their gradients, which reuse the loss's sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np

from onewafer import graph
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import Reduction
from onewafer.mesh.blocks import PLAIN_ORDER, Block
from onewafer.mesh.distances import Bounded
from onewafer.mesh.elementwise import Scale
from onewafer.mesh.losses.operations import (
    SUMS_OF_ROW,
    AddUpTargets,
    CountTargets,
    CrossEntropyBackward,
    MeanOfTargets,
    Targets,
)
from onewafer.mesh.losses.weighted import (
    ROWS_OF_ROOM,
    SUMS_OF_WEIGHTED_ROW,
    AddUpWeighted,
    AddUpWeights,
    MeanOfWeighted,
    Weighted,
    WeightedLossBackward,
)
from onewafer.mesh.lowering.lowering import Lowering, Lowerings
from onewafer.mesh.norms import FindGroupMaxima
from onewafer.mesh.norms.arrays import Groups
from onewafer.mesh.sample_groups import Divide
from onewafer.mesh.sample_groups.sums import add_up_groups

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from onewafer.graph import CrossEntropy
    from onewafer.mesh.distances import Distances
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.operation import MeshOperation
    from onewafer.mesh.relations import Relations

    Float64 = NDArray[np.float64]

Loss: TypeAlias = graph.CrossEntropy | graph.NegativeLogLikelihood
LossType = TypeVar("LossType", graph.CrossEntropy, graph.NegativeLogLikelihood)
GradientType = TypeVar(
    "GradientType", graph.CrossEntropyGradient, graph.NegativeLogLikelihoodGradient
)
_MOST_IGNORED = 1 << 15
"""The target of ignored rows is a signed 16-bit word."""


class _OfRowsLowering(Lowering[LossType]):
    """A loss of rows; its sums of each row are saved for the gradient."""

    def relate(self, operation: LossType, relations: Relations) -> None:
        """Relate nothing: every PE has the loss."""


class CrossEntropyLowering(_OfRowsLowering[graph.CrossEntropy]):
    """Find each row's maximum, sum exponentials, and find the targets' logits."""

    bounded_types = (graph.DataType.F32,)

    def lower(self, operation: graph.CrossEntropy, builder: Builder) -> None:
        _check(operation, builder)
        name, layout = operation.input, builder.layouts[operation.input]
        logits, classes = builder.blocks[name], builder.tensor(name).shape[-1]
        maxima = builder.spare(logits.rows, 1, until=builder.last_reader(operation.targets))
        builder.append(FindGroupMaxima(maxima, logits, Groups(1, classes), layout.axis))
        builder.all_reduce_max(maxima, layout.axis)
        targets = _targets(operation, maxima, builder)
        if operation.weights is None and not operation.smoothing:
            _add_up(operation, targets, builder)
            return
        shared, own = operation.smoothing / classes, 1 - operation.smoothing
        _add_up_weighted(operation, targets, builder, factors=(shared, own))

    def bound(self, operation: graph.CrossEntropy, distances: Distances) -> Bounded:
        return bound_cross_entropy(operation, distances)


class LikelihoodLowering(_OfRowsLowering[graph.NegativeLogLikelihood]):
    """Add up the log-probabilities of the targets."""

    def lower(self, operation: graph.NegativeLogLikelihood, builder: Builder) -> None:
        _check(operation, builder)
        rows = builder.blocks[operation.input].rows
        unread = builder.spare(rows, 1, until=builder.last_reader(operation.targets))
        targets = _targets(operation, unread, builder)
        _add_up_weighted(operation, targets, builder, factors=(0.0, 1.0), is_logarithm=True)


class OfRowsGradientLowering(Lowering[GradientType]):
    """Compute the gradient locally from the sums that the loss has saved."""

    def relate(self, operation: GradientType, relations: Relations) -> None:
        relations.join(operation.input, operation.result.name)

    def scalars(self, operation: GradientType) -> tuple[str, ...]:
        return (operation.gradient,)

    def lower(self, operation: GradientType, builder: Builder) -> None:
        back = builder.losses.get((operation.input, operation.targets))
        if back is None:
            raise UnsupportedOperationError(
                "it has no loss before it, which finds the sums of rows"
            )
        seed = builder.blocks[operation.gradient]
        builder.append(back(builder.allocate(operation.result), seed))


def _targets(operation: Loss, maxima: Block, builder: Builder) -> Targets:
    """Return the targets of a loss; with several sample groups, each group's loss is a sum."""
    name = operation.input
    logits, classes = builder.blocks[name], builder.tensor(name).shape[-1]
    axis, indices = builder.layouts[name].axis, builder.blocks[operation.targets]
    is_mean = operation.reduction is Reduction.MEAN and builder.sample_groups == 1
    return Targets(logits, indices, maxima, axis, classes, operation.ignored, is_mean)


def _add_up(operation: Loss, targets: Targets, builder: Builder) -> None:
    """Append the loss of rows whose classes have equal weights, and register its gradient."""
    logits, last = targets.logits, builder.last_reader(operation.targets)
    sums = builder.spare(logits.rows, SUMS_OF_ROW, until=last)
    builder.append(AddUpTargets(sums, builder.spare(1, logits.columns), targets))
    builder.all_reduce(sums, targets.axis)
    result = builder.allocate(operation.result)
    builder.append(MeanOfTargets(result, sums, targets))
    share = _join_groups(operation, result, lambda count: CountTargets(count, targets), builder)
    builder.losses[operation.input, operation.targets] = lambda result, seed: CrossEntropyBackward(
        result, sums, share(seed), targets
    )


def _add_up_weighted(
    operation: Loss,
    targets: Targets,
    builder: Builder,
    *,
    factors: tuple[float, float],
    is_logarithm: bool = False,
) -> None:
    """Append the loss of rows with weights or smoothing, and register its gradient."""
    logits, last = targets.logits, builder.last_reader(operation.targets)
    sums = builder.spare(logits.rows, SUMS_OF_WEIGHTED_ROW, until=last)
    room = builder.spare(ROWS_OF_ROOM, logits.columns, until=last)
    weights = None
    if operation.weights is not None:
        weights = builder.parameters.place_vector(
            operation.weights, builder.layouts[operation.input]
        )
    weighted = Weighted(targets, room, weights, *factors, is_logarithm)
    builder.append(AddUpWeighted(sums, weighted))
    builder.all_reduce(sums, targets.axis)
    result = builder.allocate(operation.result)
    builder.append(MeanOfWeighted(result, sums, weighted))
    share = _join_groups(
        operation, result, lambda count: AddUpWeights(count, sums, weighted), builder
    )
    builder.losses[operation.input, operation.targets] = lambda result, seed: WeightedLossBackward(
        result, sums, share(seed), weighted
    )


def _join_groups(
    operation: Loss,
    loss: Block,
    counting: Callable[[Block], MeshOperation],
    builder: Builder,
) -> Callable[[Block], Block]:
    """Append the steps from each sample group's sum to the loss of all groups.

    `counting` makes the operation that counts rows or weights. Return a function that appends the
    division of the loss gradient by that count, and returns the quotient's block.
    """
    if builder.sample_groups == 1:
        return lambda seed: seed
    if operation.reduction is not Reduction.MEAN:
        add_up_groups(loss, builder, axis=None)
        return lambda seed: seed
    both = builder.spare(1, 2, until=builder.last_reader(operation.targets))
    total, count = (Block(both.arena, both.offset + place, 1, 1) for place in range(2))
    builder.append(Scale(total, loss, 1.0))
    builder.append(counting(count))
    add_up_groups(both, builder, axis=None)
    builder.append(Divide(loss, total, count))

    def divide(seed: Block) -> Block:
        share = builder.spare(1, 1)
        builder.append(Divide(share, seed, count))
        return share

    return divide


def _check(operation: Loss, builder: Builder) -> None:
    """Refuse layouts, dtypes, reductions and ignored targets that the kernels do not support."""
    if builder.layouts[operation.input].order != PLAIN_ORDER:
        raise UnsupportedOperationError("logits whose features are those of heads")
    if builder.dtype is not graph.DataType.F32:
        raise UnsupportedOperationError("a loss of a model in f16 is not supported")
    if operation.reduction is Reduction.NONE:
        raise UnsupportedOperationError("a loss for each row is not supported; use a sum or mean")
    if not -_MOST_IGNORED <= operation.ignored < _MOST_IGNORED:
        raise UnsupportedOperationError(
            f"ignore_index {operation.ignored} is not supported; it must fit 16 bits"
        )


LOWERINGS: Lowerings = {
    graph.CrossEntropy: CrossEntropyLowering(),
    graph.CrossEntropyGradient: OfRowsGradientLowering[graph.CrossEntropyGradient](),
    graph.NegativeLogLikelihood: LikelihoodLowering(),
    graph.NegativeLogLikelihoodGradient: (
        OfRowsGradientLowering[graph.NegativeLogLikelihoodGradient]()
    ),
}


_OF_EXPONENTIAL = 6
"""The error of an exponential in roundings: 2.5 units in the last place, and one."""
_OF_LOGARITHM = 4
"""The error of a logarithm in roundings."""
_LEAST_EXPONENT = 110
"""Exponentials below minus this are 0 in f32."""


def bound_cross_entropy(operation: CrossEntropy, distances: Distances) -> Bounded:
    """Return a loss in exact arithmetic with its error bound, for any order of summation.

    Let u[c] be the factor of −log(probability) of class c in the loss of a row, and U the sum of u.
    With the largest logit m, the loss is U · log(Σ exp(x − m)) − Σ u · (x − m). The logarithm of
    the sum changes by at most as much as the logit that changes most.
    """
    logits, exact = distances.of(operation.input), distances.exact[operation.result.name]
    factors, weights = _factors(operation, distances)
    rows, classes = logits.exact.shape
    largest = logits.exact.max(axis=1)
    rest = np.abs(logits.exact - largest[:, np.newaxis])
    logarithm = np.log(np.exp(-rest).sum(axis=1))
    whole = factors.sum(axis=1)
    roundings = classes + distances.num_pes + _OF_EXPONENTIAL
    of_sum = distances.gamma(1) * np.minimum(rest.max(axis=1), _LEAST_EXPONENT)
    of_sum += distances.gamma(roundings)
    of_logarithm = of_sum + distances.gamma(_OF_LOGARITHM) * (logarithm + np.abs(largest))
    error = whole * (logits.error.max(axis=1) + of_logarithm)
    error += (factors * logits.error).sum(axis=1)
    error += distances.gamma(roundings) * (factors * np.abs(logits.exact)).sum(axis=1)
    losses = whole * (logarithm + np.abs(largest)) + (factors * np.abs(logits.exact)).sum(axis=1)
    total = error.sum() + distances.gamma(rows + 2) * losses.sum()
    divisor = weights.sum() if operation.reduction is Reduction.MEAN else 1.0
    return distances.rounded(Bounded(exact, np.full(exact.shape, total / divisor)))


def _factors(operation: CrossEntropy, distances: Distances) -> tuple[Float64, Float64]:
    """Return the factor of each class in each row, and the weight of each row's target."""
    targets = distances.of(operation.targets).exact[:, 0].astype(np.int64)
    rows, classes = distances.of(operation.input).exact.shape
    name = operation.weights
    of_classes = np.ones(classes) if name is None else distances.of(name).exact
    counts = targets != operation.ignored
    places = np.where(counts, targets, 0)
    weights = np.where(counts, of_classes[places], 0.0)
    factors = np.where(counts[:, np.newaxis], of_classes, 0.0) * (operation.smoothing / classes)
    factors[np.arange(rows), places] += (1 - operation.smoothing) * weights
    return factors, weights
