"""Contract 4: a model cut into blocks over a rectangle of PEs.

In: nothing. Out: frozen values that `shard` writes and three readers share: `reference` (NumPy),
`cost` (cycles in closed form) and `emit_csl` (text). Unknown here: colors, queues, addresses.

    program      := graph width height Placement* Operation*            (MeshProgram)
    placement    := tensor, how its two dimensions lie, its block       (Placement)
    distribution := blocked over x | blocked over y | local             (Distribution)
    block        := arena, offset, rows × columns                       (Block)
    operation    := one of the classes in `operations`                  (MeshOperation)

The program is SPMD: every PE executes the same operations on blocks of the same size at the same
place in its own memory; only `Matmul` leaves out the padding of its result. A dimension of n
elements blocked over k PEs is cut into k blocks of ⌈n / k⌉ elements, the last ones padded with
zeros; a tensor is replicated over every axis that none of its dimensions is blocked over. Tensors
are matrices here: (batch, features), (1, features) for a bias, (in features, out features) for a
weight.

A linear operation whose input is blocked over one axis gives partial sums of a result that is
blocked over the other: `Matmul`, then an all-reduce along the first axis (`ChainReduce` to its
middle, `Broadcast` from it). The next linear operation takes the axes the other way round, so that
its input never has to be redistributed. Only an `Add` whose operands lie along different axes needs
that: a residual connection over an odd number of linear operations. `Redistribute` then does what
`Matmul` does for a linear operation: it leaves on each PE a share of a result that is blocked over
the other axis, and the same all-reduce, along the axis of the input, adds them up. An `RmsNorm`
that only such products read comes after them: its factor is one number a row, and the squares go
along the axis with the sums.

Rows that are tokens of one sequence are worked on as far as the launch has them: the program says
how many it has room for, a `Launch` how many there are and at which position they begin. Attention
stays along the axis of its features: the PEs across keep the positions of the cache in turns, so
that a key is appended where it is needed, and no operation lays anything out anew. Scores are
summed over the PEs that have the same head, if no block has parts of two. For this, query features
lie where their key features lie, and features that rotate together are neighbours: a `FeatureOrder`
of the layout, which the host applies to rows and columns of weights as it packs them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import HostError
from onewafer.mesh.chains import Chains

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.graph import DataType, Graph
    from onewafer.mesh.operations import DataDependence, MeshOperation


class Axis(StrEnum):
    """An axis of the rectangle."""

    X = "x"
    Y = "y"

    @property
    def other(self) -> Axis:
        """The axis across."""
        return Axis.Y if self is Axis.X else Axis.X


class Distribution(StrEnum):
    """How one dimension of a tensor lies on the rectangle."""

    BLOCKED_X = "x"
    BLOCKED_Y = "y"
    LOCAL = "local"


class Arena(StrEnum):
    """A stretch of PE memory that operations address by element offsets."""

    INDICES = "indices"
    """Inputs that are rows of a table; i32."""
    TABLES = "tables"
    """Tables that a launch computes once for all layers: heads and slots; u16."""

    PARAMETERS = "parameters"
    """Written once by the host; elements of the program's dtype."""
    ACTIVATIONS = "activations"
    """Inputs, results and outputs; elements of the program's dtype."""
    ACCUMULATOR = "accumulator"
    """f32 partial sums of an f16 program; an f32 program sums in `ACTIVATIONS`."""
    STATE = "state"
    """Kept from launch to launch, never reused; elements of the program's dtype."""


class Role(StrEnum):
    """The host's use of a tensor."""

    INPUT = "input"
    PARAMETER = "parameter"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Block:
    """A matrix in the memory of every PE, row by row, at the same place in each."""

    arena: Arena
    offset: int
    """Elements from the start of the arena."""
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
        """Features that a block holds together: the members of a dimension, or of a pair."""
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


@dataclass(frozen=True, slots=True)
class InTurns:
    """Positions that lie on the PEs along an axis in turns: position s on PE s mod `num_pes`."""

    num_pes: int

    def features(self, num_features: int) -> NDArray[np.intp]:
        """Return the position at each place, and `num_features` where there is no position.

        >>> InTurns(2).features(5).tolist()
        [0, 2, 4, 1, 3, 5]
        """
        share = -(-num_features // self.num_pes)
        places = np.arange(self.num_pes * share).reshape(share, self.num_pes).T.reshape(-1)
        return np.minimum(places, num_features)


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
    """Where the host finds or puts a tensor: its blocks are `[height, width, num_elements]`."""

    name: str
    role: Role
    shape: tuple[int, ...]
    """Logical shape, as in the graph."""
    dtype: DataType
    rows: Distribution
    columns: Distribution
    block: Block
    is_transposed: bool = False
    """Whether the matrix on the wafer is the transposed logical one (weights)."""
    row_order: FeatureOrder = PLAIN_ORDER
    column_order: FeatureOrder | InTurns = PLAIN_ORDER
    num_rows: int | None = None
    """The number of leading rows of the logical matrix that are on the wafer; None: all of them."""
    copies: int = 1
    """How often the columns lie beside each other (a vector that all heads share)."""
    input_factors: str | None = None
    """A vector of parameters by which the in features of a weight are multiplied as it is packed:
    the weight of a norm in front of it."""
    num_matrices: int = 1
    """Matrices that lie one after the other in a block; the first dimension counts them if there
    are several (weights of a convolution, one a tap)."""

    @property
    def num_elements(self) -> int:
        """Elements of one PE's block, padding included."""
        return self.block.num_elements


@dataclass(frozen=True, slots=True)
class Launch:
    """The position of a launch in the sequence: its first position, and its valid rows."""

    start: int
    num_rows: int


@dataclass(frozen=True, slots=True)
class HeadSegments:
    """The PEs along an axis that have features of one head of attention: segments of the axis.

    Every head lies on `num_pes` PEs beside each other, the first one from PE 0 on. PEs behind the
    last head have none.
    """

    axis: Axis
    num_pes: int
    num_heads: int


@dataclass(frozen=True, slots=True)
class MeshProgram:
    """One model on a rectangle of `width` × `height` PEs."""

    graph: Graph
    width: int
    height: int
    dtype: DataType
    placements: tuple[Placement, ...]
    """A parameter used in both orientations has two."""
    operations: tuple[MeshOperation, ...]
    sources: tuple[int, ...]
    """For each mesh operation the index of the operation of the graph that it is a step of."""
    arena_elements: dict[Arena, int]
    """Size of each arena on every PE."""
    sequence_rows: int | None = None
    """Rows of a full launch, where rows are tokens of one sequence; None: they are independent."""
    context: int | None = None
    """Positions that a sequence may have; None: there is no limit."""
    num_prepared: int = 0
    """Operations at the beginning that are done once a launch, for all layers of the graph."""
    middle_x: int = 0
    middle_y: int = 0
    section_x: int = 0
    section_y: int = 0
    """PEs of a section of the chains along an axis, 0: they have one phase (`chains`)."""
    heads: HeadSegments | None = None
    """Where PEs exchange scores only within their head; None: nowhere."""

    @property
    def depends_on(self) -> tuple[DataDependence, ...]:
        """The values that the cycles of a launch depend on, in the order of the operations."""
        found = (operation.depends_on for operation in self.operations)
        return tuple(dict.fromkeys(values for values in found if values is not None))

    def size(self, axis: Axis) -> int:
        """Return the number of PEs along an axis."""
        return self.width if axis is Axis.X else self.height

    def middle(self, axis: Axis) -> int:
        """Return the place along an axis at which its chains end, and from which it broadcasts."""
        return self.middle_x if axis is Axis.X else self.middle_y

    def chains(self, axis: Axis) -> Chains:
        """Return how chains go along an axis."""
        section = self.section_x if axis is Axis.X else self.section_y
        chains = Chains(self.size(axis), self.middle(axis), section)
        if self.heads is None or self.heads.axis is not axis:
            return chains
        heads = self.heads
        return replace(chains, head_pes=heads.num_pes, num_heads=heads.num_heads)

    def with_role(self, role: Role) -> tuple[Placement, ...]:
        """Return the placements of one role, in the order of the graph."""
        return tuple(placement for placement in self.placements if placement.role is role)

    def arena_bytes(self, arena: Arena) -> int:
        """Return the bytes that an arena takes on every PE."""
        return self.arena_elements.get(arena, 0) * _ELEMENT_BYTES.get(arena, self.dtype.num_bytes)

    def whole_launch(self) -> Launch:
        """Return the launch of all rows from position 0 on."""
        return Launch(0, self.sequence_rows or 0)

    def check(self, launch: Launch) -> None:
        """Raise HostError for a launch that the program has no room for."""
        if self.sequence_rows is None:
            return
        if not 1 <= launch.num_rows <= self.sequence_rows:
            raise HostError(
                f"a launch of {launch.num_rows} rows does not work: "
                f"the program was built for 1 to {self.sequence_rows}"
            )
        if self.graph.has_feature_maps and launch.num_rows < self.sequence_rows:
            raise HostError(
                f"a launch of {launch.num_rows} rows does not work: "
                f"they are the pixels of feature maps, which have {self.sequence_rows}"
            )
        if self.context is not None and launch.start + launch.num_rows > self.context:
            raise HostError(
                f"{launch.num_rows} rows from position {launch.start} on do not fit: "
                f"the program was built for {self.context} positions"
            )

    def num_rows(self, block: Block, launch: Launch) -> int:
        """Return how many rows of a block of activations a launch works on."""
        is_sequence = block.rows == self.sequence_rows and block.arena in _OF_ROWS
        return launch.num_rows if is_sequence else block.rows


_ELEMENT_BYTES = {Arena.ACCUMULATOR: 4, Arena.INDICES: 4, Arena.TABLES: 2}
_OF_ROWS = (Arena.ACTIVATIONS, Arena.ACCUMULATOR)
