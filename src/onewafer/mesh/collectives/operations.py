"""Collectives along one axis of the rectangle, on f32 blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from onewafer.mesh import arithmetic
from onewafer.mesh.blocks import Axis
from onewafer.mesh.chains import reduce_along
from onewafer.mesh.kinds import Kind, Task, along_axes
from onewafer.mesh.operation import MeshOperation, Traffic
from onewafer.mesh.sizes import block_entry, block_sizes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

    Array = NDArray[Any]


class _Collective(MeshOperation):
    """A collective on one block."""

    __slots__ = ()

    values: Block
    axis: Axis

    @property
    def kind(self) -> Kind:
        """The kind of this operation in the schedule."""
        return self.kinds[self.axis.number]

    def entry(self, program: ProgramShape) -> Entry:
        """Return the operation's words in the schedule."""
        return block_entry(program, self.kind, self.values)

    def sizes(self, program: ProgramShape, launch: Launch) -> dict[str, int]:
        """Return the sizes that the operation's cost depends on."""
        return block_sizes(program, self.values, launch)


class _Chain(_Collective):
    """A collective whose chains go to the middle of an axis, each PE combining what comes by."""

    __slots__ = ()

    combine: ClassVar[Callable[[Array, Array], Array]]
    """Combine f32 arrays element by element, as the instruction does."""
    instruction: ClassVar[str]
    """The DSD operation of one element, as the tables of costs name it."""

    def execute(self, memories: Memories) -> None:
        """Compute on NumPy arrays the values of the kernel."""
        chains = memories.program.chains(self.axis)
        values = memories.along(self.axis, self.values)
        reduce_along(values, chains.middle, chains.leaders(), type(self).combine)

    def traffic(self, program: ProgramShape, launch: Launch) -> Traffic:
        """Return the traffic of the collective."""
        elements = self.sizes(program, launch)["elements"]
        return Traffic(self.axis, self.instruction, elements, is_chain=True)


@dataclass(frozen=True, slots=True)
class ChainReduce(_Chain):
    """Sum f32 blocks along an axis into its middle, in the order of `chains.reduce_along`.

    A PE computes `own + (sum of PEs further out)`, one rounding for each chain that comes to it.
    """

    kinds = along_axes(
        Kind(
            3,
            "chain_reduce",
            """
            moving = n;
            along_$axis.chain_reduce(sums(result, n), n);
            return;
            """,
            is_collective=True,
        ),
        5,
    )

    values: Block
    axis: Axis
    combine = staticmethod(arithmetic.add)
    instruction = "fadds"


@dataclass(frozen=True, slots=True)
class ChainMax(_Chain):
    """Take the largest of f32 blocks along an axis into its middle; NaN if one has NaN."""

    kinds = along_axes(
        Kind(
            7,
            "chain_max",
            """
            moving = n;
            along_$axis.chain_max(sums(result, n), n);
            return;
            """,
            is_collective=True,
        ),
        8,
    )

    values: Block
    axis: Axis
    combine = staticmethod(arithmetic.maximum)
    instruction = "fmaxs"


@dataclass(frozen=True, slots=True)
class Broadcast(_Collective):
    """Copy the f32 block of the middle of an axis to all others of it."""

    kinds = along_axes(
        Kind(
            4,
            "broadcast",
            """
            along_$axis.broadcast(sums(result, n), n);
            return;
            """,
            is_collective=True,
            task=Task.AFTER_CHAIN_X,
        ),
        6,
    )

    values: Block
    axis: Axis

    def execute(self, memories: Memories) -> None:
        """Compute on NumPy arrays the values of the kernel."""
        copy_along(memories.along(self.axis, self.values), memories.program.middle(self.axis))

    def traffic(self, program: ProgramShape, launch: Launch) -> Traffic:
        """Return the traffic of the collective."""
        elements = self.sizes(program, launch)["elements"]
        return Traffic(self.axis, "fmovs", elements, is_chain=False)


@dataclass(frozen=True, slots=True)
class BroadcastStore(_Collective):
    """Copy the f32 block of the middle of an axis to all, where it is stored as f16.

    The sums of the other PEs stay as they are.
    """

    kinds = along_axes(
        Kind(
            15,
            "broadcast_store",
            """
            along_$axis.broadcast_store(activation(result, n), sums(left, n), n);
            return;
            """,
            is_collective=True,
            task=Task.AFTER_CHAIN_X,
        ),
        16,
    )

    result: Block
    values: Block
    axis: Axis

    def entry(self, program: ProgramShape) -> Entry:
        """Return the operation's words in the schedule."""
        return block_entry(program, self.kind, self.result, self.values)

    def execute(self, memories: Memories) -> None:
        """Compute on NumPy arrays the values of the kernel."""
        values = memories.along(self.axis, self.values).copy()
        copy_along(values, memories.program.middle(self.axis))
        memories.store(self.result, values if self.axis is Axis.X else values.swapaxes(0, 1))

    def traffic(self, program: ProgramShape, launch: Launch) -> Traffic:
        """Return the traffic of the collective."""
        elements = self.sizes(program, launch)["elements"]
        return Traffic(self.axis, "fmovs", elements, is_chain=False)


def copy_along(values: Array, middle: int) -> None:
    """Copy what the middle of an axis has to all others; `values` are `[across, along, …]`."""
    values[...] = values[:, middle : middle + 1].copy()
