"""Cost cases of kernels: an operation of any size, and the sizes that its loop counts depend on.

From the cost cases of each family, `tools/kernel_costs.py` measures the costs of the kernels.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from onewafer.graph import DataType, Slot
from onewafer.mesh.blocks import Arena, Block, Launch, RowKind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from onewafer.mesh.kinds import Kind
    from onewafer.mesh.operation import MeshOperation

NUM_PES = 4
"""PEs along each axis of the measured program."""


MoreSlots: TypeAlias = "tuple[tuple[int, int], ...]"
"""First position and rows of each further slot of a launch."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes from which cost cases are built."""

    rows: int
    inner: int = 1
    columns: int = 11
    """The number of columns; more than `inner`, since finding the shorter of two blocks takes an
    instruction more or less."""
    heads: int = 2
    """Heads of keys that a PE has features of."""
    group: int = 3
    share: int = 6
    """Features of each head on a PE, named `share` in the cost tables."""
    slots: int = 16
    padding: int = 0
    """Padding columns of the first PE."""
    start: int | None = None
    """The position of the first row; None: at the end of the launch all slots are in use."""
    more_slots: MoreSlots = ()
    """Further slots of the launch."""
    place: int = 0
    """The PE along the operation's axis for which tables are filled."""
    place_across: int = 0
    above: int = 0
    """Lines by which a window is shifted up: above the first line, short of the last one."""
    aside: int = 0
    """Pixels by which a window is shifted right: after the first pixel, past the last one."""
    is_evaluation: bool = False
    is_apart: bool = False
    """True if the result has a block of its own where it could be the operand's."""

    @property
    def launch(self) -> Launch:
        """The launch of all rows."""
        last = NUM_PES * self.slots - self.rows
        slots = (last if self.start is None else self.start, self.rows), *self.more_slots
        return Launch(
            tuple(Slot(sequence, *slot) for sequence, slot in enumerate(slots)),
            is_evaluation=self.is_evaluation,
        )

    def block(self, arena: Arena = Arena.ACTIVATIONS) -> Block:
        """Return a block of rows × columns."""
        return Block(arena, 0, self.rows, self.columns)

    def features(self, columns: int) -> int:
        """Return the number of features, so that the first block has the padding."""
        return columns - self.padding if self.padding else NUM_PES * columns

    def row(self, *, arena: Arena = Arena.PARAMETERS) -> Block:
        """Return a block of one row."""
        return Block(arena, 0, 1, self.columns)


def grid(**values: tuple[int, ...]) -> tuple[Sizes, ...]:
    """Return all combinations of some sizes."""
    combinations = itertools.product(*values.values())
    numbers: Iterator[dict[str, Any]] = (
        dict(zip(values, items, strict=True)) for items in combinations
    )
    return tuple(Sizes(**names) for names in numbers)


def grid_of_slots(more: tuple[MoreSlots, ...], **values: tuple[int, ...]) -> tuple[Sizes, ...]:
    """Return all combinations of further slots and some sizes."""
    return tuple(replace(sizes, more_slots=slots) for slots in more for sizes in grid(**values))


ROWS_AND_INNER = grid(rows=(2, 3, 5), inner=(1, 4, 7))
"""Sizes chosen so that no two products of them are equal."""


OF_SAMPLES = frozenset({RowKind.INDEPENDENT, RowKind.GROUPED})
"""Programs whose rows are samples, or their pixels."""
OF_GROUPS = frozenset({RowKind.GROUPED})
OF_TRAINING = frozenset({*OF_SAMPLES, RowKind.SEQUENCE})
"""Programs that may train: rows are samples, or tokens of one sequence."""
OF_SEQUENCES = frozenset({RowKind.SEQUENCE, RowKind.SEQUENCES})
"""Programs in which rows are tokens of sequences."""
OF_ONE = frozenset({RowKind.SEQUENCE})
OF_SEVERAL = frozenset({RowKind.SEQUENCES})
NUM_SEQUENCES = 13
"""Sequences of programs for several sequences, a number that no cost case has as rows."""

TOTALS = "totals"
"""The name for the array of partial sums, which f32 programs keep in their activations."""


@dataclass(frozen=True, slots=True)
class CostCase:
    """An operation of any size, for measuring the kernel of its kind."""

    build: Callable[[Sizes], MeshOperation]
    rounds: tuple[str, ...] = ()
    """Products of sizes that are the iteration counts of the kernel's loops."""
    lengths: tuple[str, ...] = ()
    """Products of sizes that are the lengths of the kernel's DSD operations."""
    strides: tuple[str, ...] = ()
    """Products of sizes that are the strides of the kernel's DSD operations; 1 if not named."""
    grid: tuple[Sizes, ...] = ROWS_AND_INNER
    rows: Collection[RowKind] = frozenset(RowKind)
    """The kind of rows in the programs that may have the kind."""
    is_of_halves: bool = False
    """True if only f16 programs have the kind."""
    is_of_singles: bool = False
    """True if only f32 programs have the kind."""
    memory: Callable[[Sizes], dict[str, tuple[int, ...]]] = field(default=lambda _: {})
    """u16 words in variables that the kernel reads; f32 numbers lie at `TOTALS`."""

    def is_in(self, dtype: DataType, *, rows: RowKind) -> bool:
        """Return whether programs of a dtype, whose rows are of one kind, may have the kind."""
        excluded = self.is_of_singles if dtype is DataType.F16 else self.is_of_halves
        return not excluded and rows in self.rows

    @property
    def kind(self) -> Kind:
        """The kind of the operations that this case builds."""
        return self.build(self.grid[0]).kind
