"""The logarithm of softmax and its gradient: operations, lowering, cost cases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer import graph
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import DataType
from onewafer.mesh import functions
from onewafer.mesh.blocks import PLAIN_ORDER, Arena, Axis, Block
from onewafer.mesh.cost_case import OF_TRAINING, CostCase, Sizes, grid
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import NUM_PRESENT, Beginning, Kind, Module
from onewafer.mesh.losses.operations import CROSS_ENTROPY, logarithm
from onewafer.mesh.lowering.lowering import AlikeLowering, Lowering, Lowerings
from onewafer.mesh.norms import FindGroupMaxima, SumGroups, WeighGroups
from onewafer.mesh.norms.arrays import Groups
from onewafer.mesh.operation import MeshOperation
from onewafer.mesh.sizes import CHUNK, block_entry, block_sizes, with_row_chunks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape
    from onewafer.mesh.relations import Relations

    Floats = NDArray[Any]  # of f32

_MODULE = Module(
    "log_softmax",
    ".functions = functions, .cross_entropy = cross_entropy",
    (FUNCTIONS, CROSS_ENTROPY),
)
_BEGINNING = Beginning(
    "steps of a logarithm of softmax",
    """
    const present = num_present(columns, inner, size(words[8]) - 1 - place(words[8]));
    """,
)


class _OfRows(MeshOperation):
    """A step over rows whose features are blocked over an axis."""

    __slots__ = ()

    result: Block
    axis: Axis
    features: int

    def step_entry(self, program: ProgramShape, left: Block, right: Block, *more: Block) -> Entry:
        """Return the schedule entry; `more` are the blocks that it reads besides two operands."""
        padding = program.size(self.axis) * self.result.columns - self.features
        words = (self.axis.number, *more)
        entry = block_entry(program, self.kind, self.result, left, right, inner=padding, more=words)
        return replace(entry, rows=self.result.rows)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that the cost depends on, for a PE without padding."""
        return with_row_chunks(block_sizes(program, self.result, launch))


@dataclass(frozen=True, slots=True)
class SubtractLogarithms(_OfRows):
    """Subtract each row's maximum, and the logarithm of its sum of exponentials."""

    kinds = (
        Kind(
            219,
            "subtract_logarithms",
            """
            entry += 2;
            log_softmax.finish(activation(result, 1), activation(left, 1), totals(right),
                               totals(words[9]), rows, columns, present);
            """,
            (_MODULE,),
            (NUM_PRESENT,),
            beginning=_BEGINNING,
        ),
    )

    result: Block
    input: Block
    maxima: Block
    """f32, the maximum of each row over all PEs."""
    total: Block
    """f32, the sum of exponentials of each row over all PEs."""
    axis: Axis
    """The axis along which blocks of features lie."""
    features: int
    """Features of a row over all PEs, without padding."""

    def entry(self, program: ProgramShape) -> Entry:
        return self.step_entry(program, self.input, self.maxima, self.total)

    def execute(self, memories: Memories) -> None:
        with np.errstate(all="ignore"):
            rest = memories.matrix(self.input) - memories.matrix(self.maxima)
            result = rest - logarithm(memories.matrix(self.total))
        memories.write(self.result, memories.without_padding(result, self.axis, self.features))


@dataclass(frozen=True, slots=True)
class LogSoftmaxBackward(_OfRows):
    """Compute gradient − softmax · (sum of the row's gradients)."""

    kinds = (
        Kind(
            220,
            "back_from_logarithms",
            """
            entry += 2;
            log_softmax.back(activation(result, 1), activation(left, 1), activation(right, 1),
                             totals(words[9]), rows, columns, present);
            """,
            (_MODULE,),
            (NUM_PRESENT,),
            beginning=_BEGINNING,
        ),
    )

    result: Block
    gradient: Block
    logarithms: Block
    total: Block
    """f32, the sum of each row of gradients over all PEs."""
    axis: Axis
    """The axis along which blocks of features lie."""
    features: int
    """Features of a row over all PEs, without padding."""

    def entry(self, program: ProgramShape) -> Entry:
        return self.step_entry(program, self.gradient, self.logarithms, self.total)

    def execute(self, memories: Memories) -> None:
        with np.errstate(all="ignore"):
            probabilities = functions.exponential(memories.matrix(self.logarithms))
            part = probabilities * memories.matrix(self.total)
            result = memories.matrix(self.gradient) - part
        memories.write(self.result, memories.without_padding(result, self.axis, self.features))


class LogSoftmaxLowering(AlikeLowering[graph.LogSoftmax]):
    """All-reduce each row's maximum and sum of exponentials, then subtract."""

    def lower(self, operation: graph.LogSoftmax, builder: Builder) -> None:
        _check(operation.groups, operation.input, builder)
        axis, features = builder.layouts[operation.input].axis, operation.result.shape[-1]
        groups, source = Groups(1, features), builder.blocks[operation.input]
        maxima, total = (builder.scratch(source.rows, 1) for _ in range(2))
        builder.append(FindGroupMaxima(maxima, source, groups, axis))
        builder.all_reduce_max(maxima, axis)
        result = builder.allocate(operation.result)
        builder.append(WeighGroups(result, total, source, maxima, groups, axis))
        builder.all_reduce(total, axis)
        builder.append(SubtractLogarithms(result, source, maxima, total, axis, features))


class LogSoftmaxGradientLowering(Lowering[graph.LogSoftmaxGradient]):
    """All-reduce the sum of each row's gradients, then compute locally."""

    def relate(self, operation: graph.LogSoftmaxGradient, relations: Relations) -> None:
        relations.join(operation.gradient, operation.logarithms)
        relations.join(operation.gradient, operation.result.name)

    def lower(self, operation: graph.LogSoftmaxGradient, builder: Builder) -> None:
        _check(operation.groups, operation.gradient, builder)
        axis, features = builder.layouts[operation.gradient].axis, operation.result.shape[-1]
        operands = builder.blocks[operation.gradient], builder.blocks[operation.logarithms]
        total = builder.scratch(operands[0].rows, 1)
        builder.append(SumGroups(total, operands[0], Groups(1, features), axis))
        builder.all_reduce(total, axis)
        result = builder.allocate(operation.result)
        builder.append(LogSoftmaxBackward(result, *operands, total, axis, features))


def _check(groups: int, name: str, builder: Builder) -> None:
    """Refuse groups of features, and f16."""
    if groups > 1 or builder.layouts[name].order != PLAIN_ORDER:
        raise UnsupportedOperationError("a logarithm of softmax of groups is not supported")
    if builder.dtype is not DataType.F32:
        raise UnsupportedOperationError("a logarithm of softmax in f16 is not supported")


LOWERINGS: Lowerings = {
    graph.LogSoftmax: LogSoftmaxLowering(),
    graph.LogSoftmaxGradient: LogSoftmaxGradientLowering(),
}


def _finish(sizes: Sizes) -> MeshOperation:
    block, row = sizes.block(), Block(Arena.ACTIVATIONS, 0, sizes.rows, 1)
    return SubtractLogarithms(block, block, row, row, Axis.X, 4 * sizes.columns)


def _back(sizes: Sizes) -> MeshOperation:
    block, row = sizes.block(), Block(Arena.ACTIVATIONS, 0, sizes.rows, 1)
    return LogSoftmaxBackward(block, block, block, row, Axis.X, 4 * sizes.columns)


COST_CASES = (
    CostCase(
        _finish,
        rounds=("rows",),
        lengths=("elements", "columns"),
        is_of_singles=True,
        rows=OF_TRAINING,
    ),
    CostCase(
        _back,
        rounds=("rows", "rows*chunks"),
        lengths=("elements", "columns", "chunk"),
        grid=grid(rows=(2, 3, 5), columns=(CHUNK, 2 * CHUNK)),
        is_of_singles=True,
        rows=OF_TRAINING,
    ),
)
