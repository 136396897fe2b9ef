"""Collectives along one axis of the rectangle, on f32 blocks; redistribution and conversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from onewafer.mesh import arithmetic
from onewafer.mesh.blocks import Axis
from onewafer.mesh.chains import reduce_along
from onewafer.mesh.kinds import ELEMENT, Kind, Module, Task, along_axes
from onewafer.mesh.operation import AlongAxis, MeshOperation, Traffic
from onewafer.mesh.sizes import block_entry, block_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

    Array = NDArray[Any]


class _Collective(AlongAxis):
    """A collective on one block."""

    __slots__ = ()

    values: Block

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.values)

    def sizes(self, program: ProgramShape, launch: Launch) -> dict[str, int]:
        return block_sizes(program, self.values, launch)


class _Chain(_Collective):
    """A chain collective to the middle of an axis; each PE combines its block with the chain's."""

    __slots__ = ()

    combine: ClassVar[Callable[[Array, Array], Array]]
    """A function that combines f32 arrays element by element, as the instruction does."""
    instruction: ClassVar[str]
    """The DSD operation of one element, by its name in the tables of costs."""

    def execute(self, memories: Memories) -> None:
        chains = memories.program.chains(self.axis)
        values = memories.along(self.axis, self.values)
        reduce_along(values, chains.middle, chains.leaders(), type(self).combine)

    def traffic(self, program: ProgramShape, launch: Launch) -> Traffic:
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
    """Reduce f32 blocks along an axis to their maximum in the middle; NaN if one is NaN."""

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
    """Copy the f32 block of an axis's middle to all other PEs of the axis."""

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
        copy_along(memories.along(self.axis, self.values), memories.program.middle(self.axis))

    def traffic(self, program: ProgramShape, launch: Launch) -> Traffic:
        elements = self.sizes(program, launch)["elements"]
        return Traffic(self.axis, "fmovs", elements, is_chain=False)


@dataclass(frozen=True, slots=True)
class BroadcastStore(_Collective):
    """Copy the f32 block of an axis's middle to all PEs, which store it as f16.

    The f32 sums of the other PEs stay unchanged.
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
        return block_entry(program, self.kind, self.result, self.values)

    def execute(self, memories: Memories) -> None:
        values = memories.along(self.axis, self.values).copy()
        copy_along(values, memories.program.middle(self.axis))
        memories.store(self.result, values if self.axis is Axis.X else values.swapaxes(0, 1))

    def traffic(self, program: ProgramShape, launch: Launch) -> Traffic:
        elements = self.sizes(program, launch)["elements"]
        return Traffic(self.axis, "fmovs", elements, is_chain=False)


def copy_along(values: Array, middle: int) -> None:
    """Copy the middle's values to all PEs of an axis; `values` are `[across, along, …]`."""
    values[...] = values[:, middle : middle + 1].copy()


@dataclass(frozen=True, slots=True)
class Redistribute(AlongAxis):
    """Copy the features common to a PE's input block and its result block, which use other axes.

    With columns wᵣ and wᵢ a block, the PE at p along `axis` and q along the other holds features
    p·wᵣ … of the result and q·wᵢ … of the input. What the input lacks becomes −0 in the f32
    result, the value that changes no other (+0 would make −0 of +0): each feature is at exactly one
    q, so a sum along the input's axis gives the tensor itself, every zero with its sign.
    """

    kinds = along_axes(
        Kind(
            9,
            "redistribute",
            """
            const x = place_x();
            const y = place_y();
            redistribute.run(sums(result, n), activation(left, inner), rows, columns, inner,
                             $axis, $across);
            """,
            (Module("redistribute", ELEMENT),),
        ),
        10,
    )

    result: Block
    input: Block
    axis: Axis
    """The axis of the result."""

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.result, self.input, inner=self.input.columns)

    def execute(self, memories: Memories) -> None:
        source = memories.matrix(self.input).astype(np.float32)
        to = memories.at(self.axis)[..., np.newaxis]
        along = memories.at(self.axis.other)[..., np.newaxis]
        columns = self.result.columns
        index = to * columns + np.arange(columns) - along * self.input.columns
        index = index[:, :, np.newaxis]
        is_held = (index >= 0) & (index < self.input.columns)
        held = np.take_along_axis(source, np.where(is_held, index, 0), axis=-1)
        memories.write(self.result, np.where(is_held, held, np.float32(-0.0)))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that the operation's cost depends on.

        The shared part of a row is at most as long as the shorter row.
        """
        shared = min(self.result.columns, self.input.columns)
        return {**block_sizes(program, self.result, launch), "shared": shared}


@dataclass(frozen=True, slots=True)
class Convert(MeshOperation):
    """Round f32 sums to f16, to nearest even."""

    kinds = (
        Kind(
            13,
            "convert",
            "convert.run(activation(result, n), sums(left, n));",
            (Module("convert"),),
        ),
    )

    result: Block
    input: Block

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.result, self.input)

    def execute(self, memories: Memories) -> None:
        memories.write(self.result, arithmetic.round_to_half(memories.read(self.input)))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return block_sizes(program, self.result, launch)
