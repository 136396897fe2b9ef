"""The mean square of differences: operations, lowering, samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onewafer import graph
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import LossFunction, Reduction
from onewafer.mesh import arithmetic
from onewafer.mesh.blocks import Arena, Axis, Block
from onewafer.mesh.elementwise import Scale
from onewafer.mesh.entry import float_words
from onewafer.mesh.kinds import Beginning, Kind, Module
from onewafer.mesh.losses.operations import NUM_PRESENT
from onewafer.mesh.lowering.lowering import Lowering, Lowerings
from onewafer.mesh.operation import MeshOperation
from onewafer.mesh.sample import OF_TRAINING, Sample, Sizes
from onewafer.mesh.sizes import block_entry, block_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape
    from onewafer.mesh.relations import Relations

_SQUARES = Module("squares")
_OF_SQUARES = Beginning(
    "steps of a mean square",
    """
    const at = place(words[9]);
    const present = num_present(columns, inner, size(words[9]) - 1 - at);
    const values = activation(left, 1);
    const wanted = activation(right, 1);
    """,
)


class _OfSquares(MeshOperation):
    """A step that goes over values and what they should be."""

    __slots__ = ()

    values: Block
    targets: Block
    axis: Axis
    features: int

    def step_entry(self, program: ProgramShape, result: Block, *more: int | Block) -> Entry:
        """Return the words that both steps have."""
        padding = program.size(self.axis) * self.values.columns - self.features
        words = (more[0], self.axis.number, *more[1:])
        blocks = result, self.values, self.targets
        columns = self.values.columns
        entry = block_entry(program, self.kind, *blocks, columns=columns, inner=padding, more=words)
        return replace(entry, rows=self.values.rows)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that its cost depends on, on a PE that has no padding."""
        return block_sizes(program, self.values, launch)

    def is_present(self, memories: Memories) -> NDArray[np.bool_]:
        """Return which columns are no padding, `[height, width, 1, columns]`."""
        columns = self.values.columns
        first = memories.at(self.axis)[..., np.newaxis, np.newaxis] * columns
        return first + np.arange(columns) < self.features

    def differences(self, memories: Memories) -> NDArray[np.float32]:
        """Return what values are above their targets."""
        return arithmetic.subtract(memories.matrix(self.values), memories.matrix(self.targets))


@dataclass(frozen=True, slots=True)
class AddUpSquares(_OfSquares):
    """Sum the squares of differences that a PE has, in f32 and in ascending order from +0."""

    kinds = (
        Kind(
            104,
            "add_up_squares",
            """
            entry += 2;
            squares.add_up(totals(result), values, wanted, activation(words[8], 1),
                           rows, columns, present);
            """,
            (_SQUARES,),
            (NUM_PRESENT,),
            beginning=_OF_SQUARES,
        ),
    )

    total: Block
    """A number."""
    values: Block
    targets: Block
    room: Block
    """A row as long as one of the values."""
    axis: Axis
    """The axis over which the features are blocked."""
    features: int
    """Over all PEs, without padding."""

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        return self.step_entry(program, self.total, self.room)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        differences = self.differences(memories)
        squares = arithmetic.multiply(differences, differences)
        squares = np.where(self.is_present(memories), squares, np.float32(0))
        total = np.zeros(squares.shape[:2], np.float32)
        for square in squares.reshape(*squares.shape[:2], -1).transpose(2, 0, 1):
            total = arithmetic.add(total, square)
        memories.write(self.total, total)


@dataclass(frozen=True, slots=True)
class BackFromSquares(_OfSquares):
    """Multiply differences by a number and by the gradient of the loss, which every PE has."""

    kinds = (
        Kind(
            105,
            "back_from_squares",
            """
            entry += 4;
            const seed = totals(words[8]);
            squares.back(activation(result, 1), values, wanted, seed[0] * number(words, 10),
                         rows, columns, present);
            """,
            (_SQUARES,),
            (NUM_PRESENT,),
            beginning=_OF_SQUARES,
        ),
    )

    result: Block
    values: Block
    targets: Block
    seed: Block
    """A number."""
    axis: Axis
    """The axis over which the features are blocked."""
    features: int
    """Over all PEs, without padding."""
    factor: float

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        return self.step_entry(program, self.result, self.seed, *float_words(self.factor))

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        factor = arithmetic.multiply(memories.read(self.seed), np.full((), self.factor, np.float32))
        back = arithmetic.multiply(self.differences(memories), factor[..., np.newaxis])
        memories.write(self.result, np.where(self.is_present(memories), back, np.float32(0)))


class ElementLossLowering(Lowering[graph.ElementLoss]):
    """Add up squares on each PE, then along the axis; every PE has the loss."""

    def relate(self, operation: graph.ElementLoss, relations: Relations) -> None:
        """Let the target lie as the input does."""
        relations.join(operation.input, operation.target)

    def lower(self, operation: graph.ElementLoss, builder: Builder) -> None:
        """Append the steps."""
        _check(operation.function, operation.reduction)
        values, targets = builder.blocks[operation.input], builder.blocks[operation.target]
        axis, source = builder.layouts[operation.input].axis, builder.tensor(operation.input)
        room = builder.spare(1, values.columns)
        total = builder.allocate(operation.result)
        builder.append(AddUpSquares(total, values, targets, room, axis, source.shape[-1]))
        builder.all_reduce(total, axis)
        if operation.reduction is Reduction.MEAN:
            builder.append(Scale(total, total, 1 / source.num_elements))


class ElementLossGradientLowering(Lowering[graph.ElementLossGradient]):
    """Scale differences: no exchange."""

    def relate(self, operation: graph.ElementLossGradient, relations: Relations) -> None:
        """Let all lie alike, but for the gradient of the loss."""
        relations.join(operation.input, operation.target)
        relations.join(operation.input, operation.result.name)

    def scalars(self, operation: graph.ElementLossGradient) -> tuple[str, ...]:
        """Return the gradient of the loss, which every PE needs."""
        return (operation.gradient,)

    def lower(self, operation: graph.ElementLossGradient, builder: Builder) -> None:
        """Append the step."""
        _check(operation.function, operation.reduction)
        names = operation.input, operation.target, operation.gradient
        values, targets, seed = (builder.blocks[name] for name in names)
        axis, features = builder.layouts[operation.input].axis, operation.result.shape[-1]
        is_mean = operation.reduction is Reduction.MEAN
        factor = 2 / operation.result.num_elements if is_mean else 2.0
        result = builder.allocate(operation.result)
        builder.append(BackFromSquares(result, values, targets, seed, axis, features, factor))


def _check(function: LossFunction, reduction: Reduction) -> None:
    """Refuse what the kernels do not have."""
    if function is not LossFunction.SQUARE:
        raise UnsupportedOperationError(
            f"the loss {function.value!r} is not supported on the wafer; it has the mean square"
        )
    if reduction is Reduction.NONE:
        raise UnsupportedOperationError(
            "a loss for each element is not supported; use a sum or mean"
        )


LOWERINGS: Lowerings = {
    graph.ElementLoss: ElementLossLowering(),
    graph.ElementLossGradient: ElementLossGradientLowering(),
}


def _add_up(sizes: Sizes) -> MeshOperation:
    block, room = sizes.block(), sizes.row(arena=Arena.ACTIVATIONS)
    total = Block(Arena.ACTIVATIONS, 0, 1, 1)
    return AddUpSquares(total, block, block, room, Axis.X, 4 * sizes.columns)


def _back(sizes: Sizes) -> MeshOperation:
    block, seed = sizes.block(), Block(Arena.ACTIVATIONS, 0, 1, 1)
    return BackFromSquares(block, block, block, seed, Axis.X, 4 * sizes.columns, 0.5)


SAMPLES = (
    Sample(
        _add_up,
        rounds=("rows",),
        lengths=("columns",),
        is_of_singles=True,
        rows=OF_TRAINING,
    ),
    Sample(
        _back,
        rounds=("rows",),
        lengths=("elements", "columns"),
        is_of_singles=True,
        rows=OF_TRAINING,
    ),
)
