"""Backward passes of norms in f32: `norm_gradient.csl`, with an all-reduce between two steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from onewafer.mesh.entry import float_words
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.gradients.operations import GRADIENT, with_rows_of
from onewafer.mesh.kinds import Kind, Module
from onewafer.mesh.norms import arrays
from onewafer.mesh.norms.operations import OF_GROUPS, PIECES, OverGroups
from onewafer.mesh.operation import DataDependence
from onewafer.mesh.sizes import block_entry

if TYPE_CHECKING:
    from onewafer.mesh.blocks import Axis, Block
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.norms.arrays import Groups
    from onewafer.mesh.program_shape import ProgramShape

OF_GROUP_GRADIENTS = replace(OF_GROUPS, title="gradients of groups of features")
_NORM_GRADIENT = Module(
    "norm_gradient", ".functions = functions, .pieces = pieces", (FUNCTIONS, PIECES)
)


@dataclass(frozen=True, slots=True)
class NormTotals:
    """Statistics of each row and group from a norm's forward pass, reduced over all PEs; f32."""

    squares: Block
    sums: Block | None
    """Sums of a LayerNorm, whose squares are of differences from the mean; None for RmsNorm."""
    epsilon: float


class _NormStep(OverGroups):
    """A step of a norm's backward pass, with one kind for RmsNorm and one for LayerNorm."""

    __slots__ = ()

    found: NormTotals

    @property
    def kind(self) -> Kind:
        return self.kinds[self.found.sums is not None]

    def shared_words(self) -> tuple[int | Block, ...]:
        """Return the words of a LayerNorm's sums, and of the factor from sums to means."""
        sums = self.found.sums or self.found.squares  # not read for an RmsNorm
        return (sums, *float_words(float(self.groups.share)))

    def sums(self, memories: Memories) -> Any:  # noqa: ANN401  # an array, or None
        """Return the sums of a LayerNorm; None for an RmsNorm."""
        return None if self.found.sums is None else memories.matrix(self.found.sums)


def _kinds(number: int, name: str, code: str, *functions: str) -> tuple[Kind, Kind]:
    """Return the kinds of a step for RmsNorm and LayerNorm, which differ in `$is_centred`."""
    return tuple(  # pyright: ignore[reportReturnType]  # two
        Kind(
            number + 2 * index,
            f"{prefix}_{name}",
            code.replace("$is_centred", is_centred),
            (_NORM_GRADIENT,),
            functions,
            beginning=OF_GROUP_GRADIENTS,
        )
        for index, (prefix, is_centred) in enumerate((("rms", "false"), ("layer", "true")))
    )


@dataclass(frozen=True, slots=True)
class SumNormProducts(_NormStep):
    """Sum the weighted gradient times the (centred) input, for each row and group.

    A LayerNorm also sums the weighted gradient alone.
    """

    kinds = _kinds(
        157,
        "sum_products",
        """
        entry += 8;
        norm_gradient.sum_products($is_centred, totals(result), activation(words[12], columns),
                                   input, parameter(right, columns), totals(words[13]),
                                   number(words, 14), rows, columns, groups, group_size, members,
                                   at);
        """,
    )

    totals: Block
    """f32, with one column for each group; two for a LayerNorm."""
    gradient: Block
    input: Block
    weight: Block
    found: NormTotals
    groups: Groups
    axis: Axis
    """The axis along which blocks of features lie."""

    def entry(self, program: ProgramShape) -> Entry:
        more = (*self.words(), self.gradient, *self.shared_words())
        blocks, columns = (self.totals, self.input, self.weight), self.input.columns
        entry = block_entry(program, self.kind, *blocks, columns=columns, more=more)
        return with_rows_of(self.input, entry, program)

    def execute(self, memories: Memories) -> None:
        found = arrays.sum_products(
            memories.matrix(self.input),
            memories.at(self.axis),
            self.groups,
            gradient=memories.matrix(self.gradient),
            weight=memories.matrix(self.weight),
            sums=self.sums(memories),
        )
        memories.write(self.totals, found)


@dataclass(frozen=True, slots=True)
class NormBackward(_NormStep):
    """Compute the gradient of a norm's input; padding becomes 0."""

    kinds = _kinds(
        161,
        "norm_back",
        """
        entry += 12;
        norm_gradient.back($is_centred, activation(result, columns),
                           activation(words[12], columns), input, parameter(right, columns),
                           totals(words[16]), totals(words[17]), totals(words[13]),
                           number(words, 14), number(words, 18), rows, columns, groups, group_size,
                           members, at);
        """,
    )

    depends_on = DataDependence.SPECIAL_VALUES

    result: Block
    gradient: Block
    input: Block
    weight: Block
    totals: Block
    """The sums of `SumNormProducts`, reduced over all PEs."""
    found: NormTotals
    groups: Groups
    axis: Axis
    """The axis along which blocks of features lie."""

    def entry(self, program: ProgramShape) -> Entry:
        found = self.totals, self.found.squares, *float_words(self.found.epsilon)
        more = (*self.words(), self.gradient, *self.shared_words(), *found)
        return block_entry(program, self.kind, self.result, self.input, self.weight, more=more)

    def execute(self, memories: Memories) -> None:
        result = arrays.back(
            memories.matrix(self.input),
            memories.at(self.axis),
            self.groups,
            gradient=memories.matrix(self.gradient),
            weight=memories.matrix(self.weight),
            totals=memories.matrix(self.totals),
            squares=memories.matrix(self.found.squares),
            sums=self.sums(memories),
            epsilon=self.found.epsilon,
        )
        memories.write(self.result, result)


@dataclass(frozen=True, slots=True)
class AddToNormWeight(_NormStep):
    """Add the gradient of a norm's weight: `result[f] += Σᵣ gradient[r, f] · n[r, f]`.

    n is the normalized input; r ascends.
    """

    kinds = _kinds(
        165,
        "add_to_weight",
        """
        entry += 10;
        norm_gradient.add_to_weight($is_centred, gradient(result, columns),
                                    activation(right, columns), input, totals(words[15]),
                                    totals(words[12]), number(words, 13), number(words, 16),
                                    rows, columns, groups, group_size, members, at);
        """,
        GRADIENT,
    )

    depends_on = DataDependence.SPECIAL_VALUES

    result: Block
    """A block in the arena of parameter gradients."""
    gradient: Block
    input: Block
    found: NormTotals
    groups: Groups
    axis: Axis
    """The axis along which blocks of features lie."""

    def entry(self, program: ProgramShape) -> Entry:
        found = self.found.squares, *float_words(self.found.epsilon)
        more = (*self.words(), *self.shared_words(), *found)
        entry = block_entry(program, self.kind, self.result, self.input, self.gradient, more=more)
        return with_rows_of(self.input, entry, program)

    def execute(self, memories: Memories) -> None:
        result = arrays.add_to_weight(
            memories.matrix(self.result)[:, :, 0],
            memories.matrix(self.input),
            memories.at(self.axis),
            self.groups,
            gradient=memories.matrix(self.gradient),
            squares=memories.matrix(self.found.squares),
            sums=self.sums(memories),
            epsilon=self.found.epsilon,
        )
        memories.write(self.result, result)
