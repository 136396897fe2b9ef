"""Softmax over groups of features: `group_softmax.csl`, in steps between all-reduces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import ELEMENT, Kind, Module
from onewafer.mesh.layout import numpy_dtype
from onewafer.mesh.norms import arrays
from onewafer.mesh.norms.operations import OF_GROUPS, PIECES, OverGroups
from onewafer.mesh.sizes import block_entry

if TYPE_CHECKING:
    from onewafer.mesh.blocks import Axis, Block
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.norms.arrays import Groups
    from onewafer.mesh.program_shape import ProgramShape


_GROUP_SOFTMAX = Module(
    "group_softmax",
    f"{ELEMENT}, .functions = functions, .pieces = pieces",
    (FUNCTIONS, PIECES),
)


@dataclass(frozen=True, slots=True)
class FindGroupMaxima(OverGroups):
    """Find the largest feature of each group on a PE; −∞ if there is none; exact."""

    kinds = (
        Kind(
            36,
            "find_group_maxima",
            """
            entry += 4;
            group_softmax.maxima(totals(result), input,
                                 rows, columns, groups, group_size, members, at);
            """,
            (_GROUP_SOFTMAX,),
            beginning=OF_GROUPS,
        ),
    )

    maxima: Block
    """f32, with a column for each group."""
    input: Block
    groups: Groups
    axis: Axis
    """The axis along which blocks of features lie."""

    def entry(self, program: ProgramShape) -> Entry:
        blocks, columns = (self.maxima, self.input), self.input.columns
        return block_entry(program, self.kind, *blocks, columns=columns, more=self.words())

    def execute(self, memories: Memories) -> None:
        values, at = memories.matrix(self.input), memories.at(self.axis)
        memories.write(self.maxima, arrays.find_maxima(values, at, self.groups))


@dataclass(frozen=True, slots=True)
class WeighGroups(OverGroups):
    """Compute exp(feature − maximum of its group), and their sums by group, in f32."""

    kinds = (
        Kind(
            37,
            "weigh_groups",
            """
            entry += 5;
            const group_totals = totals(words[12]);
            group_softmax.weigh(sums(result, columns), group_totals, totals(right), input,
                                rows, columns, groups, group_size, members, at);
            """,
            (_GROUP_SOFTMAX,),
            beginning=OF_GROUPS,
        ),
    )

    weights: Block
    """The exponentials, f32, as large as the input; may be the input's block."""
    totals: Block
    """f32, with a column for each group."""
    input: Block
    maxima: Block
    """Maxima, reduced over all PEs."""
    groups: Groups
    axis: Axis
    """The axis along which blocks of features lie."""

    def entry(self, program: ProgramShape) -> Entry:
        blocks, more = (self.weights, self.input, self.maxima), (*self.words(), self.totals)
        return block_entry(program, self.kind, *blocks, more=more)

    def execute(self, memories: Memories) -> None:
        weights, totals = arrays.weigh(
            memories.matrix(self.input),
            memories.at(self.axis),
            self.groups,
            largest=memories.matrix(self.maxima),
        )
        memories.write(self.weights, weights)
        memories.write(self.totals, totals)


@dataclass(frozen=True, slots=True)
class DivideGroups(OverGroups):
    """Divide the exponentials of each group by their sum, rounded to the program's dtype.

    Padding becomes 0.
    """

    kinds = (
        Kind(
            38,
            "divide_groups",
            """
            entry += 4;
            group_softmax.divide(activation(result, columns), sums(left, columns), totals(right),
                                 rows, columns, groups, group_size, members, at);
            """,
            (_GROUP_SOFTMAX,),
            beginning=OF_GROUPS,
        ),
    )

    result: Block
    input: Block
    """The exponentials, f32; may be the result's block, and are overwritten."""
    totals: Block
    """Sums of exponentials, reduced over all PEs."""
    groups: Groups
    axis: Axis
    """The axis along which blocks of features lie."""

    def entry(self, program: ProgramShape) -> Entry:
        blocks = self.result, self.input, self.totals
        return block_entry(program, self.kind, *blocks, more=self.words())

    def execute(self, memories: Memories) -> None:
        probabilities = arrays.divide(
            memories.matrix(self.input),
            memories.at(self.axis),
            self.groups,
            totals=memories.matrix(self.totals),
            dtype=numpy_dtype(memories.program.dtype),
        )
        memories.write(self.result, probabilities)
