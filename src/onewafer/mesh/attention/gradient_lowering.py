"""Gradients of attention: its shares are computed once more from queries, keys and values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer import graph
from onewafer.mesh.attention.cache import Append
from onewafer.mesh.attention.carried import CarrySlots, TransposeCache
from onewafer.mesh.attention.gradients import (
    AddSlots,
    ScoresBackward,
    SumKeys,
    WeighProducts,
    joint_columns,
)
from onewafer.mesh.attention.lowering import append_factors, append_scores, shape_of
from onewafer.mesh.attention.sums import FindMaxima
from onewafer.mesh.dense import Split
from onewafer.mesh.lowering.lowering import Lowering, Lowerings

if TYPE_CHECKING:
    from onewafer.mesh.attention.shape import AttentionShape
    from onewafer.mesh.blocks import Block
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations


class AttentionGradientLowering(Lowering[graph.AttentionGradient]):
    """Gradients of queries, keys and values lie as these do, and go along the axis together."""

    def relate(self, operation: graph.AttentionGradient, relations: Relations) -> None:
        """Let the gradient lie as the result of the attention; that asks for the rest."""
        relations.join(operation.attended, operation.gradient)

    def lower(self, operation: graph.AttentionGradient, builder: Builder) -> None:
        """Append all mesh operations of the layer."""
        shape = shape_of(operation, builder)
        rows, across = shape.rows, shape.axis.other
        query, gradient = builder.blocks[operation.query], builder.blocks[operation.gradient]
        cache, transposed = _caches(operation, shape, builder)
        scores = append_scores(operation, query, cache, builder, bias=operation.bias)
        products = append_scores(operation, gradient, transposed, builder)
        append_factors(operation, products, builder)
        maxima = builder.spare(rows, shape.most)
        builder.append(FindMaxima(shape, maxima, scores, operation.scale))
        builder.all_reduce_max(maxima, across)
        totals = builder.spare(rows, 2 * shape.most)
        builder.append(WeighProducts(shape, totals, scores, products, maxima))
        builder.all_reduce(totals, across)
        builder.append(ScoresBackward(shape, scores, products, totals, operation.scale))
        joint = builder.spare(rows, joint_columns(shape))
        builder.append(SumKeys(shape, joint, products, transposed))
        sum_slots, (of_keys, of_values) = _slot_sums(operation, shape, builder)
        first = shape.group * shape.width
        builder.append(sum_slots(shape, joint, products, query, of_keys, first))
        append_factors(operation, scores, builder)
        builder.append(sum_slots(shape, joint, scores, gradient, of_values, first + shape.width))
        builder.all_reduce(joint, across)
        builder.append(Split(_results(operation, shape, builder), joint))


def _slot_sums(
    operation: graph.AttentionGradient, shape: AttentionShape, builder: Builder
) -> tuple[type[AddSlots | CarrySlots], tuple[Block, Block]]:
    """Return how the gradients of keys and values are summed, and where."""
    if shape.is_causal and builder.trains_in_tiles:
        return CarrySlots, builder.saved.carried[builder.original(operation.attended)]
    room = builder.spare(1, shape.width * shape.capacity)
    return AddSlots, (room, room)


def _caches(
    operation: graph.AttentionGradient, shape: AttentionShape, builder: Builder
) -> tuple[Block, Block]:
    """Return keys and values, and the same with each in the place of the other."""
    saved, elements = builder.saved, shape.cache_elements
    key, value = builder.blocks[operation.key], builder.blocks[operation.value]
    original = builder.original(operation.attended)
    cache = saved.caches.get(original)
    if cache is None:
        cache = builder.place_cache(elements, is_kept=False)
        builder.append(Append(shape, cache, key, value))
    if shape.is_causal and builder.trains_in_tiles:  # it has the rows of earlier launches, too
        transposed = builder.place_cache(elements, is_kept=False)
        builder.append(TransposeCache(shape, transposed, cache))
        return cache, transposed
    transposed = saved.transposed_caches.get(original, saved.transposed_cache)
    if not shape.is_causal or transposed is None or transposed.columns < elements:
        transposed = builder.place_cache(elements, is_kept=shape.is_causal)
        saved.transposed_cache = transposed if shape.is_causal else saved.transposed_cache
    builder.append(Append(shape, transposed, value, key))
    return cache, transposed


def _results(
    operation: graph.AttentionGradient, shape: AttentionShape, builder: Builder
) -> tuple[Block, ...]:
    """Return blocks for the gradients of query, key and value, those that are taken or not."""
    found = {
        reader.operand: builder.allocate(reader.result)
        for reader in builder.readers(operation.result.name)
        if isinstance(reader, graph.AttentionOperandGradient)
    }
    widths = (shape.group * shape.width, shape.width, shape.width)
    operands = operation.query, operation.key, operation.value
    return tuple(
        found[name] if name in found else builder.spare(shape.rows, width)
        for name, width in zip(operands, widths, strict=True)
    )


class AttentionOperandGradientLowering(Lowering[graph.AttentionOperandGradient]):
    """A gradient that is there already."""

    def relate(self, operation: graph.AttentionOperandGradient, relations: Relations) -> None:
        """Let the gradient lie as the operand."""
        relations.join(operation.operand, operation.result.name)

    def lower(self, operation: graph.AttentionOperandGradient, builder: Builder) -> None:
        """Append nothing."""


LOWERINGS: Lowerings = {
    graph.AttentionGradient: AttentionGradientLowering(),
    graph.AttentionOperandGradient: AttentionOperandGradientLowering(),
}
