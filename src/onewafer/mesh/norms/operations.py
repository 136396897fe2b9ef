"""Norms over groups of features: `norm.csl`, in steps between all-reduces."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from onewafer.mesh import functions
from onewafer.mesh.dense.operations import SPLIT, STORE_SEVERAL, Split
from onewafer.mesh.entry import float_words
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import ELEMENT, Beginning, Kind, Module
from onewafer.mesh.norms import arrays
from onewafer.mesh.operation import Classes, Conflicts, DataDependence, MeshOperation
from onewafer.mesh.sizes import CHUNK, block_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Axis, Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.norms.arrays import Groups
    from onewafer.mesh.program_shape import ProgramShape


PIECES = Module("pieces", f"{ELEMENT}, .functions = functions", (FUNCTIONS,))
_ARGUMENTS = f"{ELEMENT}, .functions = functions, .pieces = pieces"
_ROW_NORM = Module("row_norm", _ARGUMENTS, (FUNCTIONS, PIECES))
_NORM = Module("norm", _ARGUMENTS, (FUNCTIONS, PIECES))
OF_GROUPS = Beginning(
    "steps of groups of features",
    """
    const input = activation(left, columns);
    const groups = words[8];
    const group_size = words[9];
    const members = words[10];
    const at = place(words[11]);
    """,
)

_OF_MEANS = replace(OF_GROUPS, title="means of groups of features")


class OverGroups(MeshOperation):
    """An operation over the groups that the features of its input form."""

    __slots__ = ()

    takes_short_way: ClassVar = False
    """True if the kernel has a shortcut for one group in rows of one piece."""

    input: Block
    groups: Groups
    axis: Axis

    def words(self) -> tuple[int, ...]:
        """Return the schedule words that describe the groups."""
        groups = self.groups
        return (groups.num_groups, groups.group_size, groups.num_members, self.axis.number)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that the cost depends on: `pieces` in a row, of `piece` columns each.

        A PE is `padded` if some of its columns are padding, `absent` of them. With the shortcut for
        one piece, a PE is `filled` or `empty`, and `short` if it has both features and padding.
        """
        sizes = _sizes(
            self.axis,
            self.groups,
            self.input.columns,
            program.size(self.axis),
            is_one_piece=self._is_one_piece,
        )
        return {"rows": program.num_rows(self.input, launch), **sizes}

    @property
    def _is_one_piece(self) -> bool:
        is_one = self.groups.num_groups == 1 and self.input.columns <= CHUNK
        return self.takes_short_way and is_one

    def classes(self, program: ProgramShape, launch: Launch) -> Classes:
        """Return the classes of PEs along the axis, by their number of features."""
        del launch
        return self._shares(program)[1]

    def _shares(self, program: ProgramShape) -> tuple[NDArray[np.int64], Classes]:
        """Return the features and the pieces of a row, `[2, 1, classes, 1]`."""
        return _shares(self.axis, self.groups, self.input.columns, program.size(self.axis))


@dataclass(frozen=True, slots=True)
class SumGroups(OverGroups):
    """Sum the features of each group on a PE in f32, in ascending order from +0."""

    kinds = (
        Kind(
            33,
            "sum",
            """
            entry += 4;
            norm.sum(totals(result), input, rows, columns, groups, group_size, members, at);
            """,
            (_NORM,),
            beginning=OF_GROUPS,
        ),
    )

    totals: Block
    """f32, with a column for each group."""
    input: Block
    groups: Groups
    axis: Axis
    """The axis along which blocks of features lie."""

    def entry(self, program: ProgramShape) -> Entry:
        blocks = self.totals, self.input
        columns = self.input.columns
        return block_entry(program, self.kind, *blocks, columns=columns, more=self.words())

    def execute(self, memories: Memories) -> None:
        values, at = memories.matrix(self.input), memories.at(self.axis)
        memories.write(self.totals, arrays.sum_groups(values, at, self.groups))


@dataclass(frozen=True, slots=True)
class SumSquares(OverGroups):
    """Sum the squares of each group's features, or of their differences from the mean."""

    kinds = (
        Kind(
            31,
            "sum_squares",
            """
            entry += 4;
            norm.sum_squares(totals(result), input, rows, columns, groups, group_size, members, at);
            """,
            (_NORM,),
            beginning=OF_GROUPS,
        ),
        Kind(
            34,
            "sum_centred_squares",
            """
            entry += 6;
            norm.sum_centred_squares(totals(result), totals(right), number(words, 12), input,
                                     rows, columns, groups, group_size, members, at);
            """,
            (_NORM,),
            beginning=OF_GROUPS,
        ),
    )

    takes_short_way = True

    totals: Block
    """f32, with a column for each group."""
    input: Block
    groups: Groups
    axis: Axis
    """The axis along which blocks of features lie."""
    sums: Block | None = None
    """Sums over all PEs, from which the means are computed."""

    @property
    def kind(self) -> Kind:
        return self.kinds[self.sums is not None]

    def entry(self, program: ProgramShape) -> Entry:
        blocks = self.totals, self.input, self.sums
        columns = self.input.columns
        share = () if self.sums is None else float_words(float(self.groups.share))
        return block_entry(
            program, self.kind, *blocks, columns=columns, more=(*self.words(), *share)
        )

    def execute(self, memories: Memories) -> None:
        values, at = memories.matrix(self.input), memories.at(self.axis)
        sums = None if self.sums is None else memories.matrix(self.sums)
        memories.write(self.totals, arrays.sum_squares(values, at, self.groups, sums=sums))

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the squares, whose two sources are the same vector."""
        sizes = self.sizes(program, launch)
        count = (sizes["pieces"] + sizes["filled"]) * sizes["rows"]
        return Conflicts(count, "fmuls", sizes["piece"])


@dataclass(frozen=True, slots=True)
class SpreadGroups(OverGroups):
    """Replace each feature by the mean of its group, computed from the sum; padding becomes 0."""

    kinds = (
        Kind(
            245,
            "spread_groups",
            """
            entry += 6;
            norm.spread(input, totals(right), number(words, 12), rows, columns, groups, group_size,
                        members, at);
            """,
            (_NORM,),
            beginning=_OF_MEANS,
        ),
    )

    input: Block
    """f32 rows whose features form groups; they are overwritten."""
    totals: Block
    """Sums over all PEs, with one column for each group."""
    groups: Groups
    axis: Axis
    """The axis along which blocks of features lie."""

    def entry(self, program: ProgramShape) -> Entry:
        blocks = self.input, self.input, self.totals
        more = (*self.words(), *float_words(float(self.groups.share)))
        return block_entry(program, self.kind, *blocks, more=more)

    def execute(self, memories: Memories) -> None:
        totals, at = memories.matrix(self.totals), memories.at(self.axis)
        memories.write(self.input, arrays.spread(totals, at, self.groups, self.input.columns))


@dataclass(frozen=True, slots=True)
class SumRowSquares(OverGroups):
    """Sum the squares of an operand's rows into the last column of its products' sums."""

    kinds = (
        Kind(
            17,
            "sum_row_squares",
            """
            entry += 1;
            row_norm.squares(totals(result), activation(left, fixed), rows, fixed, columns, inner,
                             place(words[8]));
            """,
            (_ROW_NORM,),
        ),
    )

    totals: Block
    """f32: the sums of all products, then the sum of squares."""
    input: Block
    groups: Groups
    """One group of all features."""
    axis: Axis
    """The axis along which blocks of features lie."""

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(
            program,
            self.kind,
            self.totals,
            self.input,
            n=self.input.columns,
            inner=self.groups.group_size,
            more=(self.words()[-1],),
        )

    def execute(self, memories: Memories) -> None:
        values, at = memories.matrix(self.input), memories.at(self.axis)
        sums = memories.matrix(self.totals).copy()
        sums[..., -1:] = arrays.sum_squares(values, at, self.groups)
        memories.write(self.totals, sums)

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the squares, whose two sources are the same vector."""
        sizes = self.sizes(program, launch)
        return Conflicts(sizes["pieces"] * sizes["rows"], "fmuls", sizes["piece"])


@dataclass(frozen=True, slots=True)
class StoreNormalized(Split):
    """Divide sums of products by the root mean square of their operand; store them as `Split`.

    Computed in f32 and rounded once to the program's dtype. The input's last column, behind the
    sums of all products, has the sum of squares of the operand.
    """

    kinds = (
        Kind(
            18,
            "store_normalized",
            """
            row_norm.scale(sums(left, columns - 1), totals(left), rows, columns,
                           number(words, 8), number(words, 10));
            store_several(words, 12, rows, columns);
            """,
            (_ROW_NORM, SPLIT),
            (STORE_SEVERAL,),
        ),
    )

    depends_on = DataDependence.SPECIAL_VALUES

    groups: Groups
    """One group of all features of the operand."""
    epsilon: float

    def entry(self, program: ProgramShape) -> Entry:
        numbers = (*float_words(float(self.groups.share)), *float_words(self.epsilon))
        return self.store_entry(program, numbers)

    def execute(self, memories: Memories) -> None:
        sums = memories.matrix(self.input)
        with np.errstate(all="ignore"):
            mean = sums[..., -1:] * self.groups.share
            factor = functions.rsqrt(mean + np.float32(self.epsilon))
            scaled = sums[..., :-1] * factor
        memories.write(self.input, np.concatenate([scaled, sums[..., -1:]], axis=-1))
        Split.execute(self, memories)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes of `Split`, and the columns of the `whole` products."""
        return {**Split.sizes(self, program, launch), "whole": self.input.columns - 1}


@dataclass(frozen=True, slots=True)
class Normalize(OverGroups):
    """Divide each group by its root mean square, scale it, and shift it if there is a bias.

    Computed in f32 and rounded once to the program's dtype; padding becomes 0.
    """

    kinds = (
        Kind(
            32,
            "normalize",
            """
            entry += 9;
            const squares = totals(words[12]);
            norm.scale(activation(result, columns), input, squares, parameter(right, columns),
                       number(words, 13), number(words, 15),
                       rows, columns, groups, group_size, members, at);
            """,
            (_NORM,),
            beginning=OF_GROUPS,
        ),
        Kind(
            35,
            "centre_and_normalize",
            """
            entry += 11;
            const squares = totals(words[12]);
            const whole_sums = totals(words[17]);
            const shift = parameter(words[18], columns);
            norm.centre_and_scale(activation(result, columns), input, whole_sums, squares,
                                  parameter(right, columns), shift,
                                  number(words, 13), number(words, 15),
                                  rows, columns, groups, group_size, members, at);
            """,
            (_NORM,),
            beginning=OF_GROUPS,
        ),
    )

    depends_on = DataDependence.SPECIAL_VALUES
    takes_short_way = True

    result: Block
    input: Block
    squares: Block
    """Sums of squares over all PEs."""
    weight: Block
    groups: Groups
    axis: Axis
    """The axis along which blocks of features lie."""
    epsilon: float
    sums: Block | None = None
    """Sums over all PEs, for the means that are subtracted first; None for RmsNorm."""
    bias: Block | None = None
    """Given if and only if `sums` is."""

    @property
    def kind(self) -> Kind:
        return self.kinds[self.sums is not None]

    def entry(self, program: ProgramShape) -> Entry:
        share = float_words(float(self.groups.share))
        more = (*self.words(), self.squares, *share, *float_words(self.epsilon))
        if self.sums is not None and self.bias is not None:
            more = (*more, self.sums, self.bias)
        return block_entry(program, self.kind, self.result, self.input, self.weight, more=more)

    def execute(self, memories: Memories) -> None:
        result = arrays.normalize(
            memories.matrix(self.input),
            memories.at(self.axis),
            self.groups,
            squares=memories.matrix(self.squares),
            epsilon=self.epsilon,
            weight=memories.matrix(self.weight),
            sums=None if self.sums is None else memories.matrix(self.sums),
            bias=None if self.bias is None else memories.matrix(self.bias),
        )
        memories.write(self.result, result)


@lru_cache(maxsize=1024)
def _sizes(
    axis: Axis, groups: Groups, columns: int, num_pes: int, *, is_one_piece: bool
) -> Mapping[str, Size]:
    """Return the sizes, except the rows, of operations on groups with this layout."""
    (present, pieces), _ = _shares(axis, groups, columns, num_pes)
    absent = columns - present
    is_walked = np.full_like(present, 1 - is_one_piece)
    return MappingProxyType(
        {
            "pieces": pieces * is_walked,
            "piece": -(-present // np.maximum(pieces, 1)),
            "padded": is_walked * (absent > 0),
            "absent": absent,
            "filled": (1 - is_walked) * (present > 0),
            "empty": (1 - is_walked) * (present == 0),
            "short": (1 - is_walked) * (present > 0) * (absent > 0),
        }
    )


@cache
def _shares(
    axis: Axis, groups: Groups, columns: int, num_pes: int
) -> tuple[NDArray[np.int64], Classes]:
    distinct, classes = Classes.of(axis, np.array(_count_pieces(groups, columns, num_pes)))
    return distinct.T[:, np.newaxis, :, np.newaxis], classes


@cache
def _count_pieces(groups: Groups, columns: int, num_pes: int) -> tuple[tuple[int, int], ...]:
    """Return the number of features and of pieces on each PE.

    A piece is of one group and at most a chunk; it ends where a bundle of members ends. Each round
    has one piece for each member.
    """
    bundle, longest = groups.group_size * groups.num_members, CHUNK * groups.num_members
    counts: list[tuple[int, int]] = []
    for first in range(0, num_pes * columns, columns):
        start, end = first, max(first, min(first + columns, groups.num_features))
        rounds = 0
        while start < end:
            start = min(start + longest, (start // bundle + 1) * bundle, end)
            rounds += 1
        counts.append((end - first, rounds * groups.num_members))
    return tuple(counts)
