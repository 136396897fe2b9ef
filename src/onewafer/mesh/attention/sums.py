"""Attention: sums of all slots' values, weighted by the softmax of the scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onewafer.graph import DataType
from onewafer.mesh import functions
from onewafer.mesh.attention import arrays, conflicts
from onewafer.mesh.attention.scores import view_scores
from onewafer.mesh.attention.step import (
    OF_ATTENTION,
    OF_SLOTS,
    SLOT_TABLE,
    AttentionStep,
    each_slot,
)
from onewafer.mesh.entry import float_words
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import ELEMENT, Kind, Module
from onewafer.mesh.operation import NO_CONFLICTS, Conflicts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

    Array = NDArray[Any]


_VALUES = Module("values", ELEMENT)
_SOFTMAX = Module(
    "softmax",
    ".exponential = if (is_half) functions.exponential_for_half else functions.exponential",
    (FUNCTIONS,),
)


@dataclass(frozen=True, slots=True)
class FindMaxima(AttentionStep):
    """Scale the scores of the local heads, and find the maximum of each row and head."""

    kinds = (
        Kind(
            57,
            "find_maxima",
            """
            softmax.maxima(totals(result), sums(left, 1), heads, lengths,
                           rows, slots, num_heads, group, most, number(words, 17));
            entry += 2;
            """,
            (_SOFTMAX,),
            beginning=OF_ATTENTION,
        ),
        Kind(
            78,
            "find_slot_maxima",
            each_slot(
                """
                softmax.maxima(totals(result + slot[0] * most), sums(left + slot[5], 1), heads,
                               table(length_table + slot[0]), slot[1], slot[4], num_heads, group,
                               most, number(words, 17));
                """
            )
            + "entry += 2;",
            (_SOFTMAX,),
            (SLOT_TABLE,),
            beginning=OF_SLOTS,
        ),
    )

    maxima: Block
    scores: Block
    scale: float

    def blocks(self) -> tuple[Block, ...]:
        return self.maxima, self.scores

    def more(self) -> tuple[int, ...]:
        return float_words(self.scale)

    def execute_slot(self, memories: Memories) -> None:
        shape, maxima = self.shape, memories.matrix(self.maxima)
        for column in self.columns(memories):
            scores = view_scores(memories, self.scores, shape, column.slots)
            column.of(maxima, shape.axis)[...] = arrays.maxima(
                column.of(scores, shape.axis),
                column.heads,
                column.lengths,
                group=shape.group,
                most=shape.most,
                scale=self.scale,
            )


@dataclass(frozen=True, slots=True)
class Weigh(AttentionStep):
    """Replace the local heads' scores by exp(score − maximum), and sum these weights."""

    kinds = (
        Kind(
            58,
            "weigh",
            """
            softmax.weights(totals(result), sums(left, 1), totals(right), heads, lengths,
                            rows, slots, num_heads, group, most, width);
            """,
            (_SOFTMAX,),
            beginning=OF_ATTENTION,
        ),
        Kind(
            79,
            "weigh_slots",
            each_slot(
                """
                softmax.weights(totals(result + slot[0] * (most + group * width)),
                                sums(left + slot[5], 1), totals(right + slot[0] * most), heads,
                                table(length_table + slot[0]), slot[1], slot[4], num_heads, group,
                                most, width);
                """
            ),
            (_SOFTMAX,),
            (SLOT_TABLE,),
            beginning=OF_SLOTS,
        ),
    )

    totals: Block
    """A row: sums of the weights, then the weighted values."""
    scores: Block
    maxima: Block

    def blocks(self) -> tuple[Block, ...]:
        return self.totals, self.scores, self.maxima

    def execute_slot(self, memories: Memories) -> None:
        shape, totals = self.shape, memories.matrix(self.totals)
        maxima = memories.matrix(self.maxima)
        is_half = memories.program.dtype is DataType.F16
        exponential = functions.exponential_for_half if is_half else functions.exponential
        for column in self.columns(memories):
            scores = view_scores(memories, self.scores, shape, column.slots)
            column.of(totals, shape.axis)[..., : shape.most] = arrays.weights(
                column.of(scores, shape.axis),
                column.of(maxima, shape.axis),
                column.heads,
                column.lengths,
                exponential,
                group=shape.group,
            )


@dataclass(frozen=True, slots=True)
class SumValues(AttentionStep):
    """Sum the values in a PE's slots, times their weights."""

    kinds = (
        Kind(
            59,
            "sum_values",
            """
            values.run(sums(result, 1), sums(left, 1), cache(right + width * capacity, is_kept),
                       heads, lengths, rows, slots, num_heads, group, most, width, capacity);
            """,
            (_VALUES,),
            beginning=OF_ATTENTION,
        ),
        Kind(
            80,
            "sum_slot_values",
            each_slot(
                """
                values.run(sums(result + slot[0] * (most + group * width), 1),
                           sums(left + slot[5], 1), cache(right + width * capacity + slot[3], 1),
                           heads, table(length_table + slot[0]), slot[1], slot[4], num_heads, group,
                           most, width, capacity);
                """
            ),
            (_VALUES,),
            (SLOT_TABLE,),
            beginning=OF_SLOTS,
        ),
    )

    totals: Block
    scores: Block
    cache: Block

    def blocks(self) -> tuple[Block, ...]:
        return self.totals, self.scores, self.cache

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count f32 multiply-add elements whose two sources begin in the same banks."""
        if program.dtype is DataType.F16:
            return NO_CONFLICTS
        places = program.size(self.shape.axis.other)
        count = conflicts.of_values(
            self.shape, self.totals, self.cache, num_places=places, launch=launch
        )
        return Conflicts(count, "fmacs", 1)

    def execute_slot(self, memories: Memories) -> None:
        shape, totals = self.shape, memories.matrix(self.totals)
        cache = memories.whole(self.cache)
        for column in self.columns(memories):
            scores = view_scores(memories, self.scores, shape, column.slots)
            _, values = self.split_cache(column.of(cache, shape.axis), column)
            weighted = arrays.values(
                column.of(scores, shape.axis),
                values,
                column.heads,
                column.lengths,
                group=shape.group,
                width=shape.width,
            )
            target = column.of(totals, shape.axis)[..., shape.most :]
            target[...] = weighted.reshape(target.shape)


@dataclass(frozen=True, slots=True)
class Divide(AttentionStep):
    """Divide the weighted sums by the sums of the weights; store them in the program's dtype."""

    kinds = (
        Kind(
            60,
            "divide",
            """
            values.divide(activation(result, 1), totals(left), heads, rows, group, most, width);
            """,
            (_VALUES,),
            beginning=OF_ATTENTION,
        ),
    )

    result: Block
    totals: Block

    def blocks(self) -> tuple[Block, ...]:
        return self.result, self.totals

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that the cost depends on; the number of slots is none of them."""
        del program
        return self.shape.row_sizes(launch.num_rows)

    def execute_slot(self, memories: Memories) -> None:
        shape, totals = self.shape, memories.matrix(self.totals)
        rows = memories.num_rows(self.result)
        result = memories.view(self.result, rows, shape.width, shape.group)
        for column in self.columns(memories):
            local = column.of(totals, shape.axis)
            weighted = local[..., shape.most :].reshape(*local.shape[:-1], shape.group, shape.width)
            column.of(result, shape.axis)[...] = arrays.divide(
                local[..., : shape.most], weighted, column.heads, dtype=result.dtype
            )
