"""Attention dropout: probabilities, or their gradients, times factors that the PEs draw."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph import Draw  # noqa: TC001  # a field
from onewafer.mesh import arithmetic
from onewafer.mesh.attention.arrays import is_seen, query_heads
from onewafer.mesh.attention.gradients import OF_ATTENTION_GRADIENTS
from onewafer.mesh.attention.scores import view_scores
from onewafer.mesh.attention.step import AttentionStep
from onewafer.mesh.dropout import DROPOUT, Strips, draw_words, factors_at
from onewafer.mesh.entry import ENTRY_WORDS
from onewafer.mesh.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape


@dataclass(frozen=True, slots=True)
class DropScores(AttentionStep):
    """Multiply the scores of the local heads by drawn factors, rounded once.

    In evaluation mode the scores stay as they are.
    """

    kinds = (
        Kind(
            178,
            "drop_scores",
            """
            if (dropout.begin(@ptrcast([*]u16, &model.seeds), words[18] + round * words[19],
                              words[20], words[21], words[22])) {
              var scores = activation(result + heads[0] * group * slots, 1);
              var first = place(axis) * width / words[17] * group * words[23] + place(1 - axis);
              for (@range(u16, heads[1] * group)) |_| {
                dropout.run(scores, scores, first, size(1 - axis), start, rows, slots,
                            num_heads * slots, words[24], words[25]);
                scores = @increment_dsd_offset(scores, @as(i16, slots), f32);
                first += words[23];
              }
            }
            entry += 9;
            """,
            (DROPOUT,),
            beginning=OF_ATTENTION_GRADIENTS,
        ),
    )

    scores: Block
    draw: Draw

    def blocks(self) -> tuple[Block, ...]:
        return (self.scores,)

    @property
    def _positions(self) -> int:
        """The number of features drawn for each head."""
        return self.draw.features // self.shape.num_heads

    @property
    def _strips(self) -> Strips:
        return Strips(self.shape.rows, self.shape.capacity)

    def more(self) -> tuple[int, ...]:
        words = draw_words(self.draw)
        return self.shape.head_dim, *words, self._positions, *self._strips.words

    def entry(self, program: ProgramShape) -> Entry:
        number = ENTRY_WORDS + len(self.shape.words) + 2
        return replace(AttentionStep.entry(self, program), counters=(number,))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        sizes = self.shape.sizes(program, launch)
        strips = self._strips.sizes(self.shape.first(launch), launch.num_rows, sizes["slots"])
        return {**sizes, **strips, "drawn": int(not launch.is_evaluation)}

    def execute_slot(self, memories: Memories) -> None:
        shape, size = self.shape, memories.program.size(self.shape.axis.other)
        rows = np.arange(memories.launch.num_rows)[:, np.newaxis, np.newaxis]
        for column in self.columns(memories):
            heads = query_heads(column.heads, shape.group)
            whole = view_scores(memories, self.scores, shape, column.slots)
            scores = column.of(whole, shape.axis)[..., heads, :]
            count = len(column.heads.sizes) * shape.group
            first = shape.first_head(column.a) + np.arange(count)
            position = column.b[:, np.newaxis] + np.arange(column.slots) * size
            of_heads = first[:, np.newaxis] * self._positions
            features = position[:, np.newaxis, np.newaxis, :] + of_heads
            factors = factors_at(self.draw, memories, rows, features)
            scaled = arithmetic.multiply(scores, factors)
            scores[...] = np.where(is_seen(column.lengths, column.slots), scaled, scores)
