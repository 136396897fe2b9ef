"""Cross entropy, and its gradient, which takes what the loss has found of each row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer import graph
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import Reduction
from onewafer.mesh.blocks import PLAIN_ORDER
from onewafer.mesh.losses.operations import (
    SUMS_OF_ROW,
    AddUpTargets,
    BackFromTargets,
    MeanOfTargets,
    Targets,
)
from onewafer.mesh.lowering.lowering import Lowering, Lowerings
from onewafer.mesh.norms import FindGroupMaxima
from onewafer.mesh.norms.arrays import Groups

if TYPE_CHECKING:
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations

_MOST_IGNORED = 1 << 15
"""The target of rows that do not count is a word of 16 bits."""


class CrossEntropyLowering(Lowering[graph.CrossEntropy]):
    """Find the largest logit of each row, add up exponentials, and take the targets' logits."""

    def relate(self, operation: graph.CrossEntropy, relations: Relations) -> None:
        """Ask for nothing: every PE has the loss."""

    def lower(self, operation: graph.CrossEntropy, builder: Builder) -> None:
        """Append the steps; what is known of rows stays for the gradient."""
        _check(operation)
        name, layout = operation.input, builder.layouts[operation.input]
        logits, classes = builder.blocks[name], builder.tensor(name).shape[-1]
        if layout.order != PLAIN_ORDER:
            raise UnsupportedOperationError("logits whose features are those of heads")
        if builder.dtype is not graph.DataType.F32:
            raise UnsupportedOperationError("a loss of a model in f16 is not supported")
        last = builder.last_reader(operation.targets)
        maxima, sums = (builder.spare(logits.rows, n, until=last) for n in (1, SUMS_OF_ROW))
        builder.append(FindGroupMaxima(maxima, logits, Groups(1, classes), layout.axis))
        builder.all_reduce_max(maxima, layout.axis)
        is_mean = operation.reduction is Reduction.MEAN
        indices = builder.blocks[operation.targets]
        targets = Targets(logits, indices, maxima, layout.axis, classes, operation.ignored, is_mean)
        builder.append(AddUpTargets(sums, builder.spare(1, logits.columns), targets))
        builder.all_reduce(sums, layout.axis)
        builder.append(MeanOfTargets(builder.allocate(operation.result), sums, targets))
        builder.losses[operation.input, operation.targets] = targets, sums


class CrossEntropyGradientLowering(Lowering[graph.CrossEntropyGradient]):
    """Take exponentials once more, and what the loss has found: no exchange."""

    def relate(self, operation: graph.CrossEntropyGradient, relations: Relations) -> None:
        """Let the gradient lie as the logits do."""
        relations.join(operation.input, operation.result.name)

    def scalars(self, operation: graph.CrossEntropyGradient) -> tuple[str, ...]:
        """Return the gradient of the loss, which every PE needs."""
        return (operation.gradient,)

    def lower(self, operation: graph.CrossEntropyGradient, builder: Builder) -> None:
        """Append the step."""
        found = builder.losses.get((operation.input, operation.targets))
        if found is None:
            raise UnsupportedOperationError(
                "it has no loss before it, which finds the sums of rows"
            )
        targets, sums = found
        seed = builder.blocks[operation.gradient]
        result = builder.allocate(operation.result)
        builder.append(BackFromTargets(result, sums, seed, targets))


def _check(operation: graph.CrossEntropy) -> None:
    """Refuse what the kernels do not have."""
    if operation.weights is not None:
        raise UnsupportedOperationError("weights of classes are not supported on the wafer")
    if operation.smoothing:
        raise UnsupportedOperationError("label smoothing is not supported on the wafer")
    if operation.reduction is Reduction.NONE:
        raise UnsupportedOperationError("a loss for each row is not supported; use a sum or mean")
    if not -_MOST_IGNORED <= operation.ignored < _MOST_IGNORED:
        raise UnsupportedOperationError(
            f"ignore_index {operation.ignored} is not supported; it must fit 16 bits"
        )


LOWERINGS: Lowerings = {
    graph.CrossEntropy: CrossEntropyLowering(),
    graph.CrossEntropyGradient: CrossEntropyGradientLowering(),
}
