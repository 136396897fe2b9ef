"""Attention and its gradients: an all-reduce along the features, two along the positions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer import graph
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import Attention, DataType
from onewafer.mesh.attention import (
    Append,
    AttentionShape,
    BiasScores,
    BroadcastScores,
    Divide,
    DropScores,
    FindMaxima,
    ReduceScores,
    ScaleScores,
    Score,
    Share,
    SumValues,
    Weigh,
)
from onewafer.mesh.attention.bound import bound_attention
from onewafer.mesh.attention.carried import CarrySlots, TransposeCache
from onewafer.mesh.attention.gradients import (
    AddSlots,
    ScoresBackward,
    SumKeys,
    WeighProducts,
    joint_columns,
)
from onewafer.mesh.dense import Split
from onewafer.mesh.dropout.lowering import check_features
from onewafer.mesh.lowering.lowering import Lowering, Lowerings
from onewafer.mesh.relations import Heads

if TYPE_CHECKING:
    from onewafer.graph import AttentionGradient
    from onewafer.mesh.blocks import Block
    from onewafer.mesh.distances import Bounded, Distances
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.relations import Relations

MAX_GROUP = 63
"""The most query heads of one kv head: a DSD's stride is at most 127, a feature pair takes two."""


class AttentionLowering(Lowering[Attention]):
    """Lay queries, keys and values along one axis, the positions of the cache along the other."""

    bounded_types = (DataType.F32,)

    def bound(self, operation: Attention, distances: Distances) -> Bounded | None:
        """Return the attention result with its error bound; None with a bias."""
        return None if operation.bias is not None else bound_attention(operation, distances)

    def relate(self, operation: Attention, relations: Relations) -> None:
        """Order heads so that each query feature lies on the PE of its key feature."""
        _refuse_what_is_only_counted(operation)
        query, key, value = operation.query, operation.key, operation.value
        head_dim, group = _head_dim(operation), operation.heads // operation.kv_heads
        if group > MAX_GROUP:
            raise UnsupportedOperationError(
                f"attention with {group} query heads for a key head is not supported, at most "
                f"{MAX_GROUP} can share one"
            )
        relations.join(query, operation.result.name)
        relations.join(key, value)
        relations.align(query, key)
        wishes = (relations.swapped(query), relations.swapped(key))
        asked = [wish for wish in wishes if wish is not None]
        swapped = asked[0] if asked else head_dim if head_dim % 2 == 0 else None
        relations.arrange(query, Heads.of(head_dim, group, swapped=swapped))
        relations.arrange(key, Heads.of(head_dim, 1, swapped=swapped))
        if operation.factors is not None:
            relations.put_across(query, operation.factors)
            relations.put_in_turns(operation.factors, operation.heads)

    def prepare(self, operation: Attention, builder: Builder) -> None:
        """Check the value heads; append the step that computes each PE's heads and slots."""
        key, value = builder.tensor(operation.key).shape, builder.tensor(operation.value).shape
        if key != value:
            raise UnsupportedOperationError(
                f"the heads of the values have {value[-1] // operation.kv_heads} features, those "
                f"of the keys {key[-1] // operation.kv_heads}; they must be equal"
            )
        shape = _shape(operation, builder, table=builder.num_tables)
        if shape_key(shape) not in builder.shapes:
            builder.shapes[shape_key(shape)] = shape
            builder.num_tables += shape.table_words
            builder.append(Share(shape, builder.rows_block))

    def lower(self, operation: Attention, builder: Builder) -> None:
        shape = shape_of(operation, builder)
        axis, rows = shape.axis, shape.rows
        cache = _place_cache(operation, shape, builder)
        blocks = builder.blocks
        query, key, value = (
            blocks[name] for name in (operation.query, operation.key, operation.value)
        )
        builder.append(Append(shape, cache, key, value))
        scores = append_scores(operation, query, cache, builder, bias=operation.bias)
        maxima = builder.scratch(rows, shape.most)
        builder.append(FindMaxima(shape, maxima, scores, operation.scale))
        builder.all_reduce_max(maxima, axis.other)
        totals = builder.scratch(rows, shape.totals_columns)
        builder.append(Weigh(shape, totals, scores, maxima))
        append_factors(operation, scores, builder)
        builder.append(SumValues(shape, totals, scores, cache))
        builder.all_reduce(totals, axis.other)
        builder.append(Divide(shape, builder.allocate(operation.result), totals))


def _place_cache(operation: Attention, shape: AttentionShape, builder: Builder) -> Block:
    """Return the cache block of an attention; a recomputed one shares that of the forward pass.

    Layers whose backward passes are repeated in equal strides need their state side by side, as do
    caches that later launches of a sequence read.
    """
    elements, saved = shape.cache_elements, builder.saved
    if not shape.is_causal:
        return builder.place_cache(elements, is_kept=False)
    original = builder.original(operation.result.name)
    if original not in saved.caches:
        saved.caches[original] = builder.place_cache(elements, is_kept=True)
        if builder.recomputes and not builder.trains_in_tiles:
            saved.transposed_caches[original] = builder.place_cache(elements, is_kept=True)
        if builder.trains_in_tiles:
            sums = (builder.place_state(1, elements // 2) for _ in ("keys", "values"))
            saved.carried[original] = next(sums), next(sums)
    return saved.caches[original]


def shape_of(operation: Attention | AttentionGradient, builder: Builder) -> AttentionShape:
    """Return the attention shape whose table was computed at the start of the launch."""
    return builder.shapes[shape_key(_shape(operation, builder, table=0))]


def append_scores(
    operation: Attention | AttentionGradient,
    queries: Block,
    cache: Block,
    builder: Builder,
    *,
    bias: str | None = None,
) -> Block:
    """Append the products of queries and cached keys and their all-reduce; return the scores."""
    shape = shape_of(operation, builder)
    scores = builder.scratch(shape.rows, shape.score_heads * shape.capacity)
    builder.append(Score(shape, scores, queries, cache))
    if bias is not None:
        placed = builder.parameters.place_score_bias(bias, shape.axis, shape.capacity)
        builder.append(BiasScores(shape, scores, placed))
    if shape.segments is not None if shape.is_apart else builder.size(shape.axis) > 1:
        builder.append(ReduceScores(shape, scores))
        builder.append(BroadcastScores(shape, scores))
    return scores


def append_factors(
    operation: Attention | AttentionGradient, scores: Block, builder: Builder
) -> None:
    """Append the multiplication of probabilities, or their gradients, by any factors."""
    if operation.has_dropout and (builder.dtype is not DataType.F32 or builder.sequences > 1):
        raise UnsupportedOperationError(
            "a dropout of attention is supported in f32, and of one sequence a launch"
        )
    shape = shape_of(operation, builder)
    if operation.draw is not None:
        check_features(operation.draw)
        builder.draw()
        builder.append(DropScores(shape, scores, operation.draw))
    if operation.factors is not None:
        builder.append(ScaleScores(shape, scores, builder.blocks[operation.factors]))


def _refuse_what_is_only_counted(operation: Attention) -> None:
    reasons = (
        (operation.window, f"a window of {operation.window} tokens"),
        (operation.sinks, "sinks"),
        (operation.cached_features, "a cache of latent vectors"),
    )
    for field, reason in reasons:
        if field is not None:
            raise UnsupportedOperationError(
                f"attention with {reason} is not supported on the wafer"
            )


def shape_key(shape: AttentionShape) -> tuple[object, ...]:
    """Return a key that is equal for attentions that can share one table of heads and slots."""
    heads = shape.kv_heads, shape.group, shape.head_dim
    return (shape.axis, *heads, shape.is_causal, shape.is_apart)


def _shape(
    operation: Attention | AttentionGradient, builder: Builder, *, table: int
) -> AttentionShape:
    layout = builder.layouts[operation.key]
    rows = operation.result.shape[0]
    positions = builder.context if operation.is_causal else rows
    shape = AttentionShape(
        axis=layout.axis,
        num_pes=builder.size(layout.axis),
        kv_heads=operation.kv_heads,
        group=operation.heads // operation.kv_heads,
        head_dim=builder.tensor(operation.key).shape[-1] // operation.kv_heads,
        width=layout.columns,
        capacity=-(-positions // builder.size(layout.axis.other)),
        is_causal=operation.is_causal,
        rows=rows,
        table=table,
        is_apart=operation.bias is None,
        sequences=builder.sequences,
    )
    if _has_segments(shape, builder):
        return shape
    return replace(shape, is_apart=False)


def _has_segments(shape: AttentionShape, builder: Builder) -> bool:
    """Tell whether each PE can keep the scores of its own heads only.

    A block must not have parts of two heads, and there is one set of routes between the PEs of a
    head: that of the first attention.
    """
    if shape.width % shape.head_dim and shape.head_dim % shape.width:
        return False
    segments = shape.segments if shape.is_apart else None
    if segments is not None and builder.heads is None:
        builder.heads = segments
    return shape.is_apart and segments in (None, builder.heads)


def _head_dim(operation: Attention) -> int:
    """Return the features of a value head, equal to those of a result head."""
    return operation.result.shape[-1] // operation.heads


class AttentionGradientLowering(Lowering[graph.AttentionGradient]):
    """Lay gradients as queries, keys and values lie, and all-reduce them together."""

    def relate(self, operation: graph.AttentionGradient, relations: Relations) -> None:
        """Give the gradient the layout of the attention result, which fixes the other layouts."""
        relations.join(operation.attended, operation.gradient)

    def lower(self, operation: graph.AttentionGradient, builder: Builder) -> None:
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
    """Return the operation that sums the gradients of keys and values, and its blocks."""
    if shape.is_causal and builder.trains_in_tiles:
        return CarrySlots, builder.saved.carried[builder.original(operation.attended)]
    room = builder.spare(1, shape.width * shape.capacity)
    return AddSlots, (room, room)


def _caches(
    operation: graph.AttentionGradient, shape: AttentionShape, builder: Builder
) -> tuple[Block, Block]:
    """Return the block of keys and values, and one with both swapped."""
    saved, elements = builder.saved, shape.cache_elements
    key, value = builder.blocks[operation.key], builder.blocks[operation.value]
    original = builder.original(operation.attended)
    cache = saved.caches.get(original)
    if cache is None:
        cache = builder.place_cache(elements, is_kept=False)
        builder.append(Append(shape, cache, key, value))
    if shape.is_causal and builder.trains_in_tiles:  # the cache also has rows of earlier launches
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
    """Return blocks for the gradients of query, key and value, used or not."""
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
    """Name a gradient that `AttentionGradientLowering` has already computed."""

    def relate(self, operation: graph.AttentionOperandGradient, relations: Relations) -> None:
        relations.join(operation.operand, operation.result.name)

    def lower(self, operation: graph.AttentionOperandGradient, builder: Builder) -> None:
        """Append nothing."""


LOWERINGS: Lowerings = {
    Attention: AttentionLowering(),
    graph.AttentionGradient: AttentionGradientLowering(),
    graph.AttentionOperandGradient: AttentionOperandGradientLowering(),
}
