"""Attention: the scores of queries with keys, from products to sums over all features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.graph import DataType
from onewafer.mesh import arithmetic
from onewafer.mesh.attention import arrays, conflicts
from onewafer.mesh.attention.step import (
    OF_ATTENTION,
    OF_SLOTS,
    SLOT_TABLE,
    AttentionStep,
    each_slot,
)
from onewafer.mesh.blocks import Axis, Launch
from onewafer.mesh.chains import reduce_along
from onewafer.mesh.collectives.operations import copy_along
from onewafer.mesh.kinds import ELEMENT, Kind, Module, Task, along_axes
from onewafer.mesh.operation import NO_CONFLICTS, Conflicts, Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.attention.shape import AttentionShape
    from onewafer.mesh.blocks import Block
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

    Array = NDArray[Any]


_SCORES = Module("scores", ELEMENT)


@dataclass(frozen=True, slots=True)
class Score(AttentionStep):
    """Multiply queries by the keys of local slots over local features; f32 partial sums."""

    kinds = (
        Kind(
            49,
            "score",
            """
            scores.run(sums(result, 1), activation(left, 1), cache(right, is_kept), heads, lengths,
                       rows, slots, num_heads, group, width, capacity);
            """,
            (_SCORES,),
            beginning=OF_ATTENTION,
        ),
        Kind(
            74,
            "score_slots",
            each_slot(
                """
                scores.run(sums(result + slot[5], 1), activation(left + slot[0] * width * group, 1),
                           cache(right + slot[3], 1), heads, table(length_table + slot[0]),
                           slot[1], slot[4], num_heads, group, width, capacity);
                """
            ),
            (_SCORES,),
            (SLOT_TABLE,),
            beginning=OF_SLOTS,
        ),
    )

    scores: Block
    """A block with room for all heads and slots of each row; the used scores are contiguous."""
    queries: Block
    cache: Block

    def blocks(self) -> tuple[Block, ...]:
        return self.scores, self.queries, self.cache

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count f32 multiply-add elements whose two sources begin in the same banks."""
        if program.dtype is DataType.F16:
            return NO_CONFLICTS
        places = program.size(self.shape.axis.other)
        count = conflicts.of_scores(
            self.shape, self.scores, self.cache, num_places=places, launch=launch
        )
        return Conflicts(count, "fmacs", 1)

    def execute_slot(self, memories: Memories) -> None:
        shape = self.shape
        rows = memories.num_rows(self.queries)
        queries = memories.view(self.queries, rows, shape.width, shape.group)
        cache = memories.whole(self.cache)
        for column in self.columns(memories):
            scores = view_scores(memories, self.scores, shape, column.slots)
            keys, _ = self.split_cache(column.of(cache, shape.axis), column)
            column.of(scores, shape.axis)[...] = arrays.scores(
                column.of(queries, shape.axis),
                keys,
                column.heads,
                column.lengths,
                slots=column.slots,
                num_heads=shape.score_heads,
            )


@dataclass(frozen=True, slots=True)
class BiasScores(AttentionStep):
    """Add a bias to the partial sums of scores; the PEs along A divide the rows of all heads."""

    kinds = (
        Kind(
            50,
            "bias_scores",
            """
            score_bias.run(sums(result, 1), parameter(right, 1), place(axis), words[17],
                           rows * num_heads, slots, capacity);
            entry += 1;
            """,
            (Module("score_bias", ELEMENT),),
            beginning=OF_ATTENTION,
        ),
    )

    scores: Block
    bias: Block
    """The PE's rows of the bias, with a column for every slot."""

    def blocks(self) -> tuple[Block, ...]:
        return self.scores, self.scores, self.bias

    def more(self) -> tuple[int, ...]:
        return (self.bias.rows,)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that the cost depends on; `biased` counts the first PE's rows."""
        sizes = self.shape.sizes(program, launch)
        biased = min(self.bias.rows, launch.num_rows * self.shape.num_heads)
        return {**sizes, "biased": sizes["used"] * biased}

    def execute_slot(self, memories: Memories) -> None:
        shape, bias = self.shape, memories.matrix(self.bias)
        for column in self.columns(memories):
            scores = view_scores(memories, self.scores, shape, column.slots)
            arrays.add_bias(column.of(scores, shape.axis), column.of(bias, shape.axis), at=column.a)


def view_scores(memories: Memories, scores: Block, shape: AttentionShape, slots: int) -> Array:
    """Return a view of the used scores, `[height, width, rows, heads, slots]`.

    On the wafer, a PE with one slot less stores its scores without a gap.
    """
    return memories.view(scores, memories.launch.num_rows, shape.score_heads, slots)


@dataclass(frozen=True, slots=True)
class _ScoresCollective(AttentionStep):
    """A collective over the used scores, along the whole axis or within the segments of heads."""

    scores: Block

    def blocks(self) -> tuple[Block, ...]:
        return (self.scores,)

    def used(self, memories: Memories) -> Array:
        """Return a view of the scores in use, `[across, along, …]`."""
        column = next(self.columns(memories))
        scores = view_scores(memories, self.scores, self.shape, column.slots)
        return scores if self.shape.axis is Axis.X else scores.swapaxes(0, 1)

    def parts(self, memories: Memories) -> Iterator[tuple[Array, int, Array]]:
        """Yield the used scores of PEs that share heads, with the chain's root and leaders."""
        used, segments = self.used(memories), self.shape.segments
        chains = memories.program.chains(self.shape.axis)
        leaders = chains.leaders()
        if segments is None:
            yield used, chains.middle, leaders
            return
        for where, root in chains.heads():
            yield used[:, where], root - where.start, leaders[where]

    @property
    def of_heads(self) -> bool:
        """True if the chains of each head end at a root of their own."""
        return self.shape.segments is not None

    def words(self, program: ProgramShape, launch: Launch) -> Array:
        """Return the words that the PEs at each place along the positions' axis send."""
        size = program.size(self.shape.axis.other)
        scores = [part.num_rows * self.shape.slots(size, part) for _, part in launch.each_slot()]
        return self.shape.score_heads * np.sum(scores, axis=0)


@dataclass(frozen=True, slots=True)
class ReduceScores(_ScoresCollective):
    """Sum scores along A into the middle PE, or into the root PE of each head.

    The order of additions is that of `chains.reduce_along`.
    """

    kinds = (
        *along_axes(
            Kind(
                51,
                "reduce_scores",
                """
            moving = rows * num_heads * slots;
            if (moving > 0) {
              along_$axis.chain_reduce(sums(result, moving), moving);
            } else {
              @activate(after_chain_${axis}_id);
            }
            return;
                """,
                beginning=OF_ATTENTION,
                flags=("may_send_nothing_$axis",),
                is_collective=True,
            ),
            53,
        ),
        Kind(
            55,
            "reduce_heads",
            """
            moving = if (head_chain.has_part == 0) 0 else rows * num_heads * slots;
            if (moving > 0) {
              head_chain.reduce(sums(result, moving), moving);
            } else {
              @activate(after_head_chain_id);
            }
            return;
            """,
            beginning=OF_ATTENTION,
            flags=("has_head_chains",),
            is_collective=True,
        ),
        *along_axes(
            Kind(
                75,
                "reduce_slot_scores",
                """
            moving = numbers[0];
            if (moving > 0) {
              along_$axis.chain_reduce(sums(result, moving), moving);
            } else {
              @activate(after_chain_${axis}_id);
            }
            return;
                """,
                functions=(SLOT_TABLE,),
                beginning=OF_SLOTS,
                flags=("may_send_nothing_$axis",),
                is_collective=True,
            ),
            76,
        ),
        Kind(
            77,
            "reduce_slot_heads",
            """
            moving = if (head_chain.has_part == 0) 0 else numbers[0];
            if (moving > 0) {
              head_chain.reduce(sums(result, moving), moving);
            } else {
              @activate(after_head_chain_id);
            }
            return;
            """,
            functions=(SLOT_TABLE,),
            beginning=OF_SLOTS,
            flags=("has_head_chains",),
            is_collective=True,
        ),
    )

    @property
    def kind(self) -> Kind:
        index = 2 if self.of_heads else self.shape.axis.number
        return self.kinds[index + 3 if self.shape.has_slots else index]

    def execute_slot(self, memories: Memories) -> None:
        for scores, root, leaders in self.parts(memories):
            reduce_along(scores, root, leaders, arithmetic.add)

    def traffic(self, program: ProgramShape, launch: Launch) -> Traffic:
        words = self.words(program, launch)
        return Traffic(self.shape.axis, "fadds", words, is_chain=True, of_heads=self.of_heads)


@dataclass(frozen=True, slots=True)
class BroadcastScores(_ScoresCollective):
    """Copy scores along A from the middle, or from the root of each head, to all other PEs."""

    kinds = (
        *along_axes(
            Kind(
                52,
                "broadcast_scores",
                """
            if (n > 0) {
              along_$axis.broadcast(sums(result, n), n);
              return;
            }
                """,
                beginning=OF_ATTENTION,
                task=Task.AFTER_CHAIN_X,
                is_collective=True,
            ),
            54,
        ),
        Kind(
            56,
            "broadcast_heads",
            """
            if (n > 0) {
              head_chain.broadcast(sums(result, n), n);
              return;
            }
            """,
            beginning=OF_ATTENTION,
            task=Task.AFTER_HEAD_CHAIN,
            is_collective=True,
        ),
    )

    @property
    def kind(self) -> Kind:
        return self.kinds[2 if self.of_heads else self.shape.axis.number]

    def execute_slot(self, memories: Memories) -> None:
        for scores, root, _ in self.parts(memories):
            copy_along(scores, root)

    def traffic(self, program: ProgramShape, launch: Launch) -> Traffic:
        words = self.words(program, launch)
        return Traffic(self.shape.axis, "fmovs", words, is_chain=False, of_heads=self.of_heads)
