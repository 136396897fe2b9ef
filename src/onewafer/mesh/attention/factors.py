"""Attention with factors from the graph: probabilities, or their gradients, times those factors.

All PEs along A have the factors of all heads, those along B of the positions that they keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh import arithmetic
from onewafer.mesh.attention import conflicts
from onewafer.mesh.attention.arrays import is_seen, query_heads
from onewafer.mesh.attention.gradients import OF_ATTENTION_GRADIENTS
from onewafer.mesh.attention.scores import view_scores
from onewafer.mesh.attention.step import AttentionStep
from onewafer.mesh.kinds import Kind, Module
from onewafer.mesh.operation import Conflicts

if TYPE_CHECKING:
    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape


@dataclass(frozen=True, slots=True)
class ScaleScores(AttentionStep):
    """Multiply the scores of the local heads by factors, in f32 and rounded once."""

    kinds = (
        Kind(
            177,
            "scale_scores",
            """
            score_factors.run(activation(result, 1), activation(left, 1), heads, lengths, rows,
                              slots, num_heads, group, place(axis) * width / words[17] * group,
                              words[18], words[19]);
            entry += 3;
            """,
            (Module("score_factors"),),
            beginning=OF_ATTENTION_GRADIENTS,
        ),
    )

    scores: Block
    factors: Block
    """A row with the factors of the PE's positions for every query head."""

    def blocks(self) -> tuple[Block, ...]:
        return self.scores, self.factors

    def more(self) -> tuple[int, ...]:
        shape = self.shape
        return shape.head_dim, shape.num_heads, self.factors.columns // shape.num_heads

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the elements of products whose sources begin in the same banks."""
        places = program.size(self.shape.axis.other)
        count = conflicts.of_factors(
            self.shape, self.scores, self.factors, num_places=places, launch=launch
        )
        return Conflicts(count, "fmuls", 1)

    def execute_slot(self, memories: Memories) -> None:
        shape, rows = self.shape, memories.launch.num_rows
        factors = memories.view(self.factors, rows, shape.num_heads, self.more()[-1])
        for column in self.columns(memories):
            first = shape.first_head(column.a)
            count = len(column.heads.sizes) * shape.group
            whole = view_scores(memories, self.scores, shape, column.slots)
            scores = column.of(whole, shape.axis)[..., query_heads(column.heads, shape.group), :]
            given = column.of(factors, shape.axis)[..., first : first + count, : column.slots]
            scaled = arithmetic.multiply(scores, given)
            scores[...] = np.where(is_seen(column.lengths, column.slots), scaled, scores)
