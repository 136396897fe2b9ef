"""The backward pass of attention, in f32: probabilities again, then gradients of its operands.

    Append, Score, ReduceScores, BroadcastScores, as in the forward pass, and the same of gradients
    with values as keys ─▶ FindMaxima, ChainMax, Broadcast along B ─▶ WeighProducts ─▶ ChainReduce,
    Broadcast along B ─▶ ScoresBackward ─▶ SumKeys, AddSlots ─▶ ChainReduce, Broadcast along B
    ─▶ Split

Keys are needed twice: feature by feature for scores, and slot by slot for the gradients of queries;
values are needed feature by feature. A second cache has values in the place of keys, and keys in
that of values. The kernels are those of `attention_gradient.csl`, their mirrors those of
`gradient_arrays.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh.attention import gradient_arrays as arrays
from onewafer.mesh.attention.scores import view_scores
from onewafer.mesh.attention.step import OF_ATTENTION, AttentionStep
from onewafer.mesh.entry import float_words
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import Kind, Module

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.attention.shape import AttentionShape
    from onewafer.mesh.attention.step import Column
    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

    Array = NDArray[Any]

OF_ATTENTION_GRADIENTS = replace(OF_ATTENTION, title="gradients of attention")
ATTENTION_GRADIENT = Module(
    "attention_gradient", ".exponential = functions.exponential", (FUNCTIONS,)
)


def joint_columns(shape: AttentionShape) -> int:
    """Return the columns of the gradients of queries, keys and values side by side."""
    return (shape.group + 2) * shape.width


@dataclass(frozen=True, slots=True)
class WeighProducts(AttentionStep):
    """Replace scores by exp(score − maximum), multiply the products by these weights, sum both."""

    kinds = (
        Kind(
            169,
            "weigh_products",
            """
            attention_gradient.weights(totals(result), activation(left, 1), activation(right, 1),
                                       totals(words[17]), heads, lengths, rows, slots, num_heads,
                                       group, most);
            entry += 1;
            """,
            (ATTENTION_GRADIENT,),
            beginning=OF_ATTENTION_GRADIENTS,
        ),
    )

    totals: Block
    """A row: the sums of the weights, then the sums of weights times products."""
    scores: Block
    products: Block
    """Products of gradients with values, over all features."""
    maxima: Block

    def blocks(self) -> tuple[Block, ...]:
        return self.totals, self.scores, self.products

    def more(self) -> tuple[int, ...]:
        return (self.maxima.offset,)

    def execute_slot(self, memories: Memories) -> None:
        shape, totals = self.shape, memories.matrix(self.totals)
        maxima = memories.matrix(self.maxima)
        for column in self.columns(memories):
            scores, products = (
                view_scores(memories, block, shape, column.slots)
                for block in (self.scores, self.products)
            )
            column.of(totals, shape.axis)[...] = arrays.weights(
                column.of(scores, shape.axis),
                column.of(products, shape.axis),
                column.of(maxima, shape.axis),
                column.heads,
                column.lengths,
                group=shape.group,
            )


@dataclass(frozen=True, slots=True)
class ScoresBackward(AttentionStep):
    """Turn scores into probabilities, and products into the gradients of the scores."""

    kinds = (
        Kind(
            171,
            "back_from_shares",
            """
            attention_gradient.back(activation(result, 1), activation(left, 1), totals(right),
                                    heads, lengths, rows, slots, num_heads, group, most,
                                    number(words, 17));
            entry += 2;
            """,
            (ATTENTION_GRADIENT,),
            beginning=OF_ATTENTION_GRADIENTS,
        ),
    )

    scores: Block
    products: Block
    totals: Block
    """Sums of `WeighProducts`, reduced over all PEs."""
    scale: float

    def blocks(self) -> tuple[Block, ...]:
        return self.scores, self.products, self.totals

    def more(self) -> tuple[int, ...]:
        return float_words(self.scale)

    def execute_slot(self, memories: Memories) -> None:
        shape, totals = self.shape, memories.matrix(self.totals)
        for column in self.columns(memories):
            scores, products = (
                view_scores(memories, block, shape, column.slots)
                for block in (self.scores, self.products)
            )
            arrays.back(
                column.of(scores, shape.axis),
                column.of(products, shape.axis),
                column.of(totals, shape.axis),
                column.heads,
                column.lengths,
                group=shape.group,
                scale=self.scale,
            )


class _OfJoint(AttentionStep):
    """A step that writes the gradients of queries, keys and values side by side."""

    __slots__ = ()

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that the cost depends on; `joint` are the columns of all three."""
        return {**self.shape.sizes(program, launch), "joint": joint_columns(self.shape)}


@dataclass(frozen=True, slots=True)
class SumKeys(_OfJoint):
    """Sum the keys in a PE's slots times the score gradients, in f32.

    The sums are a part of the gradients of the queries. The other columns of the rows become −0.
    """

    kinds = (
        Kind(
            173,
            "sum_keys",
            """
            attention_gradient.sum_keys(activation(result, 1), activation(left, 1),
                                        cache(right + width * capacity, is_kept), heads, lengths,
                                        rows, slots, num_heads, group, width, capacity);
            """,
            (ATTENTION_GRADIENT,),
            beginning=OF_ATTENTION_GRADIENTS,
        ),
    )

    joint: Block
    products: Block
    cache: Block
    """The cache with keys and values swapped."""

    def blocks(self) -> tuple[Block, ...]:
        return self.joint, self.products, self.cache

    def execute_slot(self, memories: Memories) -> None:
        shape, joint = self.shape, memories.matrix(self.joint)
        cache = memories.whole(self.cache)
        for column in self.columns(memories):
            products = view_scores(memories, self.products, shape, column.slots)
            _, keys = self.split_cache(column.of(cache, shape.axis), column)
            found = arrays.sum_keys(
                column.of(products, shape.axis),
                keys,
                column.heads,
                column.lengths,
                group=shape.group,
                width=shape.width,
            )
            rows = column.of(joint, shape.axis)
            rows[...] = -0.0
            target = rows[..., : shape.width * shape.group]
            target[...] = found.reshape(target.shape)


class SlotSums(_OfJoint):
    """Sum rows times their factors for each slot, and add the sums to the rows of the slots.

    Score gradients times queries give the gradients of keys, probabilities times result gradients
    those of values. Rows of slots that other PEs keep stay as they are.
    """

    __slots__ = ()

    joint: Block
    factors: Block
    rows_of: Block
    """Rows that lie as the queries do."""
    column: int
    """The first column of the result that this step writes."""

    def blocks(self) -> tuple[Block, ...]:
        return self.joint, self.factors, self.rows_of

    @abstractmethod
    def begin(self, memories: Memories, column: Column) -> Array:
        """Return the initial sums, `[…, slots, width]`."""

    @abstractmethod
    def keep(self, memories: Memories, column: Column, sums: Array) -> None:
        """Store the final sums, if a later launch continues them."""

    def execute_slot(self, memories: Memories) -> None:
        shape, joint = self.shape, memories.matrix(self.joint)
        rows = memories.num_rows(self.rows_of)
        rows_of = memories.view(self.rows_of, rows, shape.width, shape.group)
        for column in self.columns(memories):
            factors = view_scores(memories, self.factors, shape, column.slots)
            sums = self.begin(memories, column)
            arrays.add_rows(
                sums,
                column.of(factors, shape.axis),
                column.of(rows_of, shape.axis),
                column.heads,
                column.lengths,
                group=shape.group,
            )
            self.keep(memories, column, sums)
            found = arrays.spread(
                sums,
                column.heads,
                rows=rows,
                start=shape.first(memories.launch),
                b=column.b,
                size=len(column.b),
            )
            target = column.of(joint, shape.axis)[..., self.column : self.column + shape.width]
            target[...] = found


@dataclass(frozen=True, slots=True)
class AddSlots(SlotSums):
    """Sum gradients of keys and values over the rows of a launch of a whole sequence."""

    kinds = (
        Kind(
            175,
            "add_slots",
            """
            attention_gradient.add_rows(activation(result, 1), activation(left, 1),
                                        activation(right, 1), activation(words[17], 1), words[18],
                                        heads, lengths, numbers[1], rows, slots, num_heads, group,
                                        width, place(1 - axis), size(1 - axis));
            entry += 2;
            """,
            (ATTENTION_GRADIENT,),
            beginning=OF_ATTENTION_GRADIENTS,
        ),
    )

    joint: Block
    factors: Block
    rows_of: Block
    room: Block
    """Scratch for the sums of all slots."""
    column: int

    def more(self) -> tuple[int, ...]:
        return self.room.offset, self.column

    def begin(self, memories: Memories, column: Column) -> Array:
        """Return sums of +0."""
        del memories
        return np.zeros((len(column.b), column.slots, self.shape.width), np.float32)

    def keep(self, memories: Memories, column: Column, sums: Array) -> None:
        """Store nothing: no launch continues the sums."""
