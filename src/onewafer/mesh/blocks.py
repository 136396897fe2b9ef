"""Tensors on the rectangle: axes, arenas of PE memory, blocks, and layouts over PEs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from onewafer.graph import Slot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from onewafer.graph import DataType


class Axis(StrEnum):
    """An axis of the rectangle."""

    X = "x"
    Y = "y"

    @property
    def other(self) -> Axis:
        """The other axis."""
        return Axis.Y if self is Axis.X else Axis.X

    @property
    def number(self) -> int:
        """The axis as a word for kernels: x is 0, y is 1."""
        return int(self is Axis.Y)


class Distribution(StrEnum):
    """How one dimension of a tensor is distributed: blocked over x, blocked over y, or local."""

    BLOCKED_X = "x"
    BLOCKED_Y = "y"
    LOCAL = "local"

    @classmethod
    def over(cls, axis: Axis) -> Distribution:
        """Return the distribution of a dimension blocked over an axis."""
        return cls(axis.value)

    @property
    def axis(self) -> Axis:
        """The axis over which a blocked dimension is blocked."""
        return Axis(self.value)


@dataclass(frozen=True, slots=True)
class Arena:
    """A stretch of PE memory that operations address by element offsets.

    A program lists its arenas with their sizes, and may have others than those below.
    """

    name: str
    """The variable in CSL."""
    element: str | None = None
    """The type of the elements in CSL; None: the program's."""
    has_rows: bool = False
    """True if blocks have rows of a launch, of which only the valid ones are computed."""

    PARAMETERS: ClassVar[Arena]
    """Written once by the host."""
    ACTIVATIONS: ClassVar[Arena]
    """Inputs, results and outputs."""
    ACCUMULATOR: ClassVar[Arena]
    """Partial sums of an f16 program; an f32 program sums in `ACTIVATIONS`."""
    STATE: ClassVar[Arena]
    """Kept from launch to launch, never reused."""
    INDICES: ClassVar[Arena]
    """Inputs that index rows of a table, and outputs that index the largest features."""
    GRADIENTS: ClassVar[Arena]
    """Gradients of parameters, each at the place that its parameter has in `PARAMETERS`."""
    TABLES: ClassVar[Arena]
    """Tables that a launch computes once for all layers: heads and slots."""
    SLOTS: ClassVar[Arena]
    """Sequence, first position and number of rows of each slot of a launch; the host writes it."""


Arena.PARAMETERS = Arena("parameters")
Arena.ACTIVATIONS = Arena("activations", has_rows=True)
Arena.ACCUMULATOR = Arena("sums", "f32", has_rows=True)
Arena.STATE = Arena("state")
Arena.INDICES = Arena("indices", "i32")
Arena.TABLES = Arena("tables", "u16")
Arena.SLOTS = Arena("slots", "u16")
Arena.GRADIENTS = Arena("gradients", "f32")


class Role(StrEnum):
    """The host's use of a tensor."""

    INPUT = "input"
    PARAMETER = "parameter"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Block:
    """A matrix at the same offset in the memory of every PE, stored row by row."""

    arena: Arena
    offset: int
    """Elements from the start of the arena to the block."""
    rows: int
    columns: int

    @property
    def num_elements(self) -> int:
        """Rows times columns."""
        return self.rows * self.columns


@dataclass(frozen=True, slots=True)
class FeatureOrder:
    """The order in which the features of a tensor lie on the wafer.

    Features are those of heads, `head_dim` each. `members` consecutive heads interleave: the same
    dimension of each of them, then the next dimension. If dimensions are paired, those of the first
    half of `swapped` dimensions alternate with those of the second: 0, s/2, 1, s/2 + 1, …; the
    dimensions after them are pairs of neighbours as they are numbered.
    """

    head_dim: int = 1
    members: int = 1
    swapped: int | None = None
    """Even, at most `head_dim`; None: dimensions are not paired."""

    @property
    def granule(self) -> int:
        """Features that no block boundary may split: the members of a dimension, or of a pair."""
        return self.members * (1 if self.swapped is None else 2)

    def features(self, num_features: int) -> NDArray[np.intp]:
        """Return the feature at each place.

        >>> FeatureOrder(head_dim=4, members=2, swapped=4).features(8).tolist()
        [0, 4, 2, 6, 1, 5, 3, 7]
        """
        index = np.arange(num_features).reshape(-1, self.members, self.head_dim)
        if self.swapped:
            halves = index[..., : self.swapped].reshape(*index.shape[:2], 2, -1)
            paired = halves.swapaxes(-1, -2).reshape(*index.shape[:2], -1)
            index = np.concatenate([paired, index[..., self.swapped :]], axis=-1)
        return index.swapaxes(-1, -2).reshape(-1)


PLAIN_ORDER = FeatureOrder()


@dataclass(frozen=True, slots=True, kw_only=True)
class InTurns(FeatureOrder):
    """A cyclic distribution of positions along an axis: position s is on PE s mod `num_pes`.

    There may be several groups of positions, one after the other; a PE has its part of each.
    """

    num_pes: int
    groups: int = 1

    @property
    def granule(self) -> int:
        """Features that no block boundary may split: one position of each group."""
        return self.groups

    def features(self, num_features: int) -> NDArray[np.intp]:
        """Return the feature at each place, and `num_features` where there is no position.

        >>> InTurns(num_pes=2).features(5).tolist()
        [0, 2, 4, 1, 3, 5]
        >>> InTurns(num_pes=2, groups=2).features(6).tolist()
        [0, 2, 3, 5, 1, 6, 4, 6]
        """
        positions = num_features // self.groups
        share = -(-positions // self.num_pes)
        of_pes = np.arange(self.num_pes * share).reshape(share, 1, self.num_pes).T
        places = of_pes + positions * np.arange(self.groups)[:, np.newaxis]
        return np.where(of_pes < positions, places, num_features).reshape(-1)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the features of an activation lie: blocked over an axis, `columns` of them on each PE."""

    axis: Axis
    columns: int
    order: FeatureOrder = PLAIN_ORDER

    @classmethod
    def cut(
        cls, features: int, axis: Axis, num_pes: int, *, order: FeatureOrder = PLAIN_ORDER
    ) -> Layout:
        """Return the layout with the narrowest blocks."""
        return cls(axis, order.granule * -(-features // (order.granule * num_pes)), order)


@dataclass(frozen=True, slots=True)
class Placement:
    """The layout of a tensor for the host: its blocks are `[height, width, num_elements]`."""

    name: str
    role: Role
    shape: tuple[int, ...]
    """Logical shape, as in the graph."""
    dtype: DataType
    rows: Distribution
    columns: Distribution
    block: Block
    is_transposed: bool = False
    """True if the wafer stores the transposed logical matrix, as for weights."""
    row_order: FeatureOrder = PLAIN_ORDER
    column_order: FeatureOrder = PLAIN_ORDER
    num_rows: int | None = None
    """Leading rows of the logical matrix that the wafer stores; None: all of them."""
    copies: int = 1
    """Copies of the columns side by side, for a vector that all heads share."""
    input_factors: str | None = None
    """A vector of parameters by which the in features of a weight are multiplied as it is packed:
    the weight of a norm in front of it."""
    num_matrices: int = 1
    """Matrices that follow each other in a block; their count is the first dimension if there are
    several (weights of a convolution, one a tap)."""
    entries: tuple[str, ...] = ()
    """Entries that an input is written before, or an output read after; empty: the only entry."""
    sample_groups: int = 1
    """Groups of rows of PEs along y; the other fields describe the layout within one group."""
    is_cut: bool = False
    """True if each group has its own rows of the array; false if every group has all rows."""

    @property
    def of_group(self) -> Placement:
        """The layout within one group, as if it were the only one."""
        parts = self.sample_groups if self.is_cut else 1
        shape = (self.shape[0] // parts, *self.shape[1:])
        return replace(self, shape=shape, sample_groups=1, is_cut=False)

    def is_of(self, entry: str) -> bool:
        """Return whether an input is written before an entry, or an output read after it."""
        return not self.entries or entry in self.entries

    @property
    def num_elements(self) -> int:
        """Elements of one PE's block, padding included."""
        return self.block.num_elements

    @property
    def num_bytes(self) -> int:
        """Bytes of the logical tensor without padding; the copies sent to groups count."""
        is_sent_again = self.role is not Role.OUTPUT and not self.is_cut
        times = self.sample_groups if is_sent_again else 1
        return times * math.prod(self.shape) * self.dtype.num_bytes

    @property
    def is_resident(self) -> bool:
        """True if the tensor stays on the wafer from launch to launch, as parameters do."""
        arena = self.block.arena
        belongs_to_a_launch = arena.has_rows or arena == Arena.INDICES
        return self.role is not Role.INPUT and not belongs_to_a_launch


INFER = "infer"
"""The entry that gives the outputs of the graph."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of an entry of a program, for the rows of some slots."""

    slots: tuple[Slot, ...]
    """The slots in the order of their rows; each is of another sequence."""
    entry: str = INFER
    is_evaluation: bool = False
    """True for an evaluation, in which a program with dropout draws no factors."""

    @classmethod
    def at(cls, position: int, rows: int) -> Launch:
        """Return a launch of the first sequence's rows from a position on."""
        return cls((Slot(0, position, rows),))

    @property
    def start(self) -> int:
        """The position of the first row."""
        (slot,) = self.slots
        return slot.position

    @property
    def num_rows(self) -> int:
        """The valid rows of all slots."""
        return sum(slot.rows for slot in self.slots)

    @property
    def slot_words(self) -> tuple[int, ...]:
        """The words that tell PEs about the slots (`Arena.SLOTS`), `SLOT_WORDS` for each."""
        words = (
            (slot.sequence, slot.position, slot.rows, slot.first_table_row) for slot in self.slots
        )
        return tuple(chain.from_iterable(words))

    @property
    def positions(self) -> int:
        """Positions of all its sequences together, after the launch."""
        return sum(slot.position + slot.rows for slot in self.slots)

    def each_slot(self) -> Iterator[tuple[int, Launch]]:
        """Yield, for each slot, its first row and the launch of its rows alone."""
        first = 0
        for slot in self.slots:
            yield first, replace(self, slots=(slot,))
            first += slot.rows


class RowKind(StrEnum):
    """The relation between the rows of a launch."""

    INDEPENDENT = "independent"
    SEQUENCE = "sequence"
    """Consecutive tokens of one sequence."""
    SEQUENCES = "sequences"
    """Tokens of several sequences; those of each are consecutive and contiguous."""
    GROUPED = "groups"
    """Independent rows, divided among groups of rows of PEs; in f32 only."""


@dataclass(frozen=True, slots=True)
class HeadSegments:
    """The segments of an axis, each of the PEs that have features of one attention head.

    Every head lies on `num_pes` PEs beside each other, the first one from PE 0 on. PEs behind the
    last head have none.
    """

    axis: Axis
    num_pes: int
    num_heads: int
