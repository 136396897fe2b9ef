"""Contract 4: a model cut into blocks over a rectangle of PEs.

In: nothing. Out: frozen values that `shard` writes and three readers share: `reference` (NumPy),
`cost` (cycles in closed form) and `emit_csl` (text). Unknown here: colors, queues, addresses.

    program      := graph width height Placement* Operation* entry*     (MeshProgram)
    placement    := tensor, how its two dimensions lie, its block       (Placement)
    distribution := blocked over x | blocked over y | local             (Distribution)
    block        := arena, offset, rows × columns                       (Block)
    operation    := one of the classes of a family                      (MeshOperation)

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

Samples may lie on several groups of rows of PEs, one below the other, of a program that trains:
each group is such a rectangle with its part of the samples and all parameters, and the program is
cut for that (`sample_groups`). What needs all samples is added up along the whole of y.

Rows that are tokens of sequences are worked on as far as the launch has them: the program says
how many it has room for, a `Slot` of the `Launch` which sequence they are of, how many there are,
and at which position they begin. A program for several sequences keeps keys and values of each in a
place of its own; a launch of it has rows of one slot after the other, and what knows positions is
done slot by slot (`RowKind.SEQUENCES`), so that no value depends on the rows beside it. Attention
stays along the axis of its features: the PEs across keep the positions of the cache in turns, so
that a key is appended where it is needed, and no operation lays anything out anew. Scores are
summed over the PEs that have the same head, if no block has parts of two. For this, query features
lie where their key features lie, and features that rotate together are neighbours: a `FeatureOrder`
of the layout, which the host applies to rows and columns of weights as it packs them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.errors import HostError
from onewafer.mesh.blocks import INFER, Role
from onewafer.mesh.program_shape import ProgramShape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.graph import Graph
    from onewafer.mesh.blocks import Launch, Placement
    from onewafer.mesh.lowering.training import Training
    from onewafer.mesh.operation import DataDependence, MeshOperation


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshProgram(ProgramShape):
    """One model on a rectangle of `width` × `height` PEs."""

    graph: Graph
    placements: tuple[Placement, ...]
    """The placements of all tensors; a parameter used in both orientations has two."""
    operations: tuple[MeshOperation, ...]
    sources: tuple[int, ...]
    """The index of the graph operation that each mesh operation is a step of."""
    activations_in_use: tuple[int, ...] = ()
    """The live elements of `Arena.ACTIVATIONS` at each graph operation."""
    entries: tuple[str, ...] = (INFER,)
    """Entries by name; each has the operations that follow the previous entry."""
    ends: tuple[int, ...] = ()
    """The index behind the last operation of each entry; empty for a single entry."""
    num_prepared: int = 0
    """Operations at the beginning that run once a launch, for all layers."""
    training: Training | None = None
    """The training of a program with gradients."""

    @property
    def depends_on(self) -> tuple[DataDependence, ...]:
        """The values that the cycles of a launch depend on, in the order of the operations."""
        found = (operation.depends_on for operation in self.operations)
        return tuple(dict.fromkeys(values for values in found if values is not None))

    def with_role(self, role: Role, entry: str | None = None) -> tuple[Placement, ...]:
        """Return the placements of one role, in the order of the graph.

        Given an entry, only its inputs or outputs.
        """
        return tuple(
            placement
            for placement in self.placements
            if placement.role is role and (entry is None or placement.is_of(entry))
        )

    @property
    def trains(self) -> bool:
        """True if the program has gradients."""
        return self.training is not None

    @property
    def tiles(self) -> int:
        """The launches of a sequence in training; 1 if one launch has all of it."""
        rows, positions = self.sequence_rows, self.context
        if not self.trains or rows is None or positions is None:
            return 1
        return -(-positions // rows)

    def num_bytes(self, name: str) -> int:
        """Return the bytes of an input, parameter or output, without padding.

        A parameter that the host only multiplies into another one has 0 bytes.
        """
        return next((item.num_bytes for item in self.placements if item.name == name), 0)

    def stretch(self, entry: str) -> slice:
        """Return the slice of the operations of an entry."""
        if not self.ends:
            return slice(0, len(self.operations))
        index = self.entries.index(entry)
        return slice(self.ends[index - 1] if index else 0, self.ends[index])

    def whole_launch(self) -> Launch:
        """Return the launch of the first entry, of all rows from position 0 on."""
        return replace(ProgramShape.whole_launch(self), entry=self.entries[0])

    def output_rows(self, launch: Launch) -> Mapping[str, int]:
        """Return output → the number of its first rows that a launch computes; absent: all."""
        if self.sequence_rows is None:
            return {}
        outputs = self.with_role(Role.OUTPUT, launch.entry)
        return {output.name: self.num_rows(output.block, launch) for output in outputs}

    def check(self, launch: Launch) -> None:
        """Raise HostError for a launch whose entry or rows the program does not have."""
        if launch.entry not in self.entries:
            raise HostError(
                f"the program has no entry {launch.entry!r}; it has {', '.join(self.entries)}"
            )
        if self.sequence_rows is None:
            return
        self._check_sequences(launch)
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
        for slot in launch.slots:
            for first in (slot.position, slot.first_table_row):
                if self.context is not None and first + slot.rows > self.context:
                    raise HostError(
                        f"{slot.rows} rows from position {first} on do not fit: "
                        f"the program was built for {self.context} positions"
                    )
        if self.sequences == 1 and any(s.first_table_row != s.position for s in launch.slots):
            raise HostError("rows of tables that are not those of positions need several sequences")

    def _check_sequences(self, launch: Launch) -> None:
        """Raise HostError for sequences that the program lacks, or that occur twice."""
        sequences = [slot.sequence for slot in launch.slots]
        is_known = all(0 <= sequence < self.sequences for sequence in sequences)
        if is_known and sequences and len(set(sequences)) == len(sequences):
            if len(sequences) == 1 or all(slot.rows > 0 for slot in launch.slots):
                return
            raise HostError("a launch with several slots has at least a row of each of them")
        kept = (
            "one sequence, number 0"
            if self.sequences == 1
            else f"{self.sequences} sequences, from number 0 on, and a launch has each at most once"
        )
        raise HostError(
            f"a launch for the sequences {sequences} does not work: the program keeps {kept}"
        )
