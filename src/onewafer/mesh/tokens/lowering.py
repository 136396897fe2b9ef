"""Lowering of operations on a sequence's tokens: lookups, rotation, one row of many."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from onewafer import graph
from onewafer.graph import (
    FLOATING,
    DataType,
    Embedding,
    FirstRow,
    LastRow,
    PositionEmbedding,
    Rotary,
    RotaryGradient,
    RowAt,
)
from onewafer.mesh.blocks import Layout
from onewafer.mesh.distances import Bounded
from onewafer.mesh.lowering.lowering import AlikeLowering, Lowering, Lowerings, OperationType
from onewafer.mesh.relations import Heads
from onewafer.mesh.tokens import (
    LookUpPositions,
    LookUpTokens,
    Rotate,
    TakeLastRows,
    TakeRow,
    TakeRowAt,
)
from onewafer.mesh.tokens.gradients import AddPositions, AddTokens, PlaceRow, PlaceRowAt, TurnAngles

if TYPE_CHECKING:
    from onewafer.mesh.blocks import Block
    from onewafer.mesh.distances import Distances, Float64
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations


class _ExactLowering(Lowering[OperationType]):
    """The lowering of an operation that copies numbers."""

    bounded_types = FLOATING

    def bound(self, operation: OperationType, distances: Distances) -> Bounded:
        """Return the copied numbers, which have no error."""
        exact = distances.exact[operation.result.name]
        return Bounded(exact, np.zeros_like(exact))


class EmbeddingLowering(_ExactLowering[Embedding]):
    """Look up local entries; an all-reduce completes the rows.

    The table has the layout of a linear layer's weight from the result to a vocabulary, so that
    both can share it.
    """

    def relate(self, operation: Embedding, relations: Relations) -> None:
        """Relate nothing; a later product with the table takes the layout of the result."""
        relations.note_table(operation.table, operation.result.name)

    def lower(self, operation: Embedding, builder: Builder) -> None:
        layout = builder.layouts[operation.result.name]
        across = layout.axis.other
        entries = Layout.cut(builder.tensor(operation.table).shape[0], across, builder.size(across))
        table = builder.parameters.place_weight(operation.table, layout, entries)
        result = builder.allocate(operation.result)
        sums = builder.sums_of(result)
        indices = builder.blocks[operation.indices]
        builder.append(LookUpTokens(sums, indices, table, across))
        builder.all_reduce_into(result, sums, across)


class PositionEmbeddingLowering(_ExactLowering[PositionEmbedding]):
    """As `EmbeddingLowering`, with positions blocked over the other axis."""

    def relate(self, operation: PositionEmbedding, relations: Relations) -> None:
        """Relate nothing."""

    def lower(self, operation: PositionEmbedding, builder: Builder) -> None:
        layout = builder.layouts[operation.result.name]
        across = layout.axis.other
        table = builder.parameters.place_table(operation.table, layout)
        result = builder.allocate(operation.result)
        sums = builder.sums_of(result)
        builder.append(LookUpPositions(sums, table, across, builder.sequences > 1))
        builder.all_reduce_into(result, sums, across)


class RotaryLowering(Lowering[Rotary]):
    """Rotate by angles that are looked up once a launch for all layers."""

    works_in_place = True
    bounded_types = (DataType.F32,)

    def relate(self, operation: Rotary, relations: Relations) -> None:
        """Give both one layout, in which features that are rotated together are neighbours."""
        relations.join(operation.input, operation.result.name)
        head_dim = operation.result.shape[-1] // operation.heads
        relations.arrange(operation.input, Heads.of(head_dim, swapped=operation.num_swapped))

    def prepare(self, operation: Rotary, builder: Builder) -> None:
        """Look up the angles, unless an earlier operation has done so."""
        for name in (operation.cosine, operation.sine):
            look_up_angles(name, operation, builder)

    def lower(self, operation: Rotary, builder: Builder) -> None:
        cosine, sine = (
            look_up_angles(name, operation, builder) for name in (operation.cosine, operation.sine)
        )
        append_rotation(operation, builder, cosine, sine)

    def bound(self, operation: Rotary, distances: Distances) -> Bounded:
        """Return the rotated features: two products and a sum, with factors of at most 1.

        A host that computes the angles for another number of positions may differ in their last
        bit.
        """
        source = distances.of(operation.input)
        heads = (len(source.exact), operation.heads, -1)
        both = source.error.reshape(heads), source.magnitude.reshape(heads)
        error, magnitude = (_with_partners(each, operation.num_swapped) for each in both)
        exact = distances.exact[operation.result.name]
        found = error + distances.gamma(6) * magnitude
        return Bounded(exact, found.reshape(exact.shape))


def look_up_angles(name: str, operation: Rotary | RotaryGradient, builder: Builder) -> Block:
    """Return rows of a table of angles; the first call for a table appends the lookup."""
    key = name, *angle_layout(operation, builder)
    if key not in builder.angles:
        _, layout, copies = key
        table = builder.parameters.place_table(name, layout, copies=copies)
        angles = builder.keep(operation.result.shape[0], layout.columns)
        has_slots = builder.sequences > 1
        builder.append(LookUpPositions(angles, table, layout.axis.other, has_slots))
        builder.all_reduce(angles, layout.axis.other)
        builder.angles[key] = angles
    return builder.angles[key]


def append_rotation(
    operation: Rotary | RotaryGradient, builder: Builder, cosine: Block, sine: Block
) -> None:
    """Append the rotation of an operation's operand, in place if it is not read again."""
    (name,) = operation.activation_operands
    members = builder.layouts[operation.result.name].order.members
    source = builder.blocks[name]
    scratch = builder.scratch(cosine.rows, 2 * cosine.columns)
    result = builder.allocate_in_place(operation)
    builder.append(Rotate(result, source, cosine, sine, scratch, members))


def _with_partners(heads: Float64, swapped: int) -> Float64:
    """Return for each feature of heads `[…, features]` the sum with its rotation partner."""
    first, second = np.split(heads[..., :swapped], 2, axis=-1)
    neighbours = heads[..., swapped:].reshape(*heads.shape[:-1], -1, 2).sum(axis=-1)
    pairs = first + second
    return np.concatenate([pairs, pairs, np.repeat(neighbours, 2, axis=-1)], axis=-1)


def angle_layout(operation: Rotary | RotaryGradient, builder: Builder) -> tuple[Layout, int]:
    """Return the layout of a row of angles that all members share, and the copies of it."""
    layout = builder.layouts[operation.result.name]
    order = replace(layout.order, members=1)
    columns = layout.columns // layout.order.members
    return Layout(layout.axis, columns, order), operation.heads // layout.order.members


class FirstRowLowering(AlikeLowering[FirstRow]):
    """Copy the first row locally."""

    def lower(self, operation: FirstRow, builder: Builder) -> None:
        source = builder.blocks[operation.input]
        builder.append(TakeRow(builder.allocate(operation.result), source, is_last=False))


class LastRowLowering(AlikeLowering[LastRow]):
    """Copy the last valid row locally; with several slots, that of each."""

    bounded_types = FLOATING

    def lower(self, operation: LastRow, builder: Builder) -> None:
        source = builder.blocks[operation.input]
        result = builder.allocate(operation.result)
        if builder.sequences > 1:
            builder.append(TakeLastRows(result, source))
        else:
            builder.append(TakeRow(result, source, is_last=True))

    def bound(self, operation: LastRow, distances: Distances) -> Bounded:
        source = distances.of(operation.input)
        last = [rows.stop - 1 for _, rows in distances.each_slot()]
        return Bounded(source.exact[last], source.error[last])


class RowAtLowering(Lowering[RowAt]):
    """Copy the indexed row locally; every PE has the index."""

    bounded_types = FLOATING

    def relate(self, operation: RowAt, relations: Relations) -> None:
        relations.join(operation.input, operation.result.name)

    def lower(self, operation: RowAt, builder: Builder) -> None:
        source, index = builder.blocks[operation.input], builder.blocks[operation.index]
        builder.append(TakeRowAt(builder.allocate(operation.result), source, index))

    def bound(self, operation: RowAt, distances: Distances) -> Bounded:
        source = distances.of(operation.input)
        row = int(distances.exact[operation.index][0, 0])
        return Bounded(source.exact[row : row + 1], source.error[row : row + 1])


OneRowGradient: TypeAlias = graph.FirstRowGradient | graph.LastRowGradient


class EmbeddingGradientLowering(Lowering[graph.EmbeddingGradient]):
    """Add the rows of local entries."""

    def relate(self, operation: graph.EmbeddingGradient, relations: Relations) -> None:
        """Relate nothing: the gradient has the layout of the rows that were looked up."""

    def lower(self, operation: graph.EmbeddingGradient, builder: Builder) -> None:
        result = builder.gradient(operation.result.name, rows=builder.layouts[operation.gradient])
        source, indices = builder.blocks[operation.gradient], builder.blocks[operation.indices]
        axis = builder.layouts[operation.gradient].axis.other
        builder.append(AddTokens(result, source, indices, axis, operation.padding))


class PositionEmbeddingGradientLowering(Lowering[graph.PositionEmbeddingGradient]):
    """Add the rows at local positions."""

    def relate(self, operation: graph.PositionEmbeddingGradient, relations: Relations) -> None:
        """Relate nothing: the gradient has the layout of the rows that were looked up."""

    def lower(self, operation: graph.PositionEmbeddingGradient, builder: Builder) -> None:
        result = builder.gradient(
            operation.result.name, columns=builder.layouts[operation.gradient]
        )
        source, axis = builder.blocks[operation.gradient], builder.layouts[operation.gradient].axis
        builder.append(AddPositions(result, source, axis.other))


class RotaryGradientLowering(Lowering[graph.RotaryGradient]):
    """Rotate back: same cosines, sines negated once a launch for all layers."""

    works_in_place = True

    def relate(self, operation: graph.RotaryGradient, relations: Relations) -> None:
        """Give both one layout, in which features that are rotated together are neighbours."""
        relations.join(operation.gradient, operation.result.name)
        head_dim = operation.result.shape[-1] // operation.heads
        relations.arrange(operation.gradient, Heads.of(head_dim, swapped=operation.num_swapped))

    def prepare(self, operation: graph.RotaryGradient, builder: Builder) -> None:
        """Look up the angles and negate the sines, unless an earlier operation has done so."""
        key = operation.sine, *angle_layout(operation, builder)
        look_up_angles(operation.cosine, operation, builder)
        sine = look_up_angles(operation.sine, operation, builder)
        if key not in builder.saved.angles:
            negated = builder.keep(sine.rows, sine.columns)
            builder.append(TurnAngles(negated, sine))
            builder.saved.angles[key] = negated

    def lower(self, operation: graph.RotaryGradient, builder: Builder) -> None:
        sine = builder.saved.angles[operation.sine, *angle_layout(operation, builder)]
        cosine = look_up_angles(operation.cosine, operation, builder)
        append_rotation(operation, builder, cosine, sine)


class OneRowGradientLowering(Lowering[OneRowGradient]):
    """Copy a row into rows of zeros locally."""

    def __init__(self, *, is_last: bool) -> None:
        self._is_last = is_last

    def relate(self, operation: OneRowGradient, relations: Relations) -> None:
        relations.join(operation.gradient, operation.result.name)

    def lower(self, operation: OneRowGradient, builder: Builder) -> None:
        source, result = builder.blocks[operation.gradient], builder.allocate(operation.result)
        builder.append(PlaceRow(result, source, self._is_last))


class RowAtGradientLowering(Lowering[graph.RowAtGradient]):
    """Copy a row to its indexed place locally."""

    def relate(self, operation: graph.RowAtGradient, relations: Relations) -> None:
        relations.join(operation.gradient, operation.result.name)

    def lower(self, operation: graph.RowAtGradient, builder: Builder) -> None:
        source, index = builder.blocks[operation.gradient], builder.blocks[operation.index]
        builder.append(PlaceRowAt(builder.allocate(operation.result), source, index))


LOWERINGS: Lowerings = {
    Embedding: EmbeddingLowering(),
    PositionEmbedding: PositionEmbeddingLowering(),
    Rotary: RotaryLowering(),
    FirstRow: FirstRowLowering(),
    LastRow: LastRowLowering(),
    RowAt: RowAtLowering(),
    graph.EmbeddingGradient: EmbeddingGradientLowering(),
    graph.PositionEmbeddingGradient: PositionEmbeddingGradientLowering(),
    graph.RotaryGradient: RotaryGradientLowering(),
    graph.FirstRowGradient: OneRowGradientLowering(is_last=False),
    graph.LastRowGradient: OneRowGradientLowering(is_last=True),
    graph.RowAtGradient: RowAtGradientLowering(),
}
