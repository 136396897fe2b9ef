"""Collectives along y within sample groups, and the steps around sums over all groups.

A sum over groups is a chain along the whole y axis, of a block with a part for each PE row of a
group: `PlaceOwnPart` writes a PE's own part and +0 elsewhere, `TakeOwnPart` copies the own part
back. PEs between two PEs of a part add +0, so that every part is summed in the same order: the sum
of the other groups, from the second one on, is added to the first group.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from onewafer.mesh import arithmetic
from onewafer.mesh.blocks import Arena, Axis
from onewafer.mesh.chains import reduce_along
from onewafer.mesh.collectives.operations import copy_along
from onewafer.mesh.gradients.operations import GRADIENT
from onewafer.mesh.kinds import Kind, Task
from onewafer.mesh.operation import MeshOperation, Traffic
from onewafer.mesh.sizes import block_entry, block_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

    Array = NDArray[Any]


class _InGroups(MeshOperation):
    """A collective on one block along y, within each group."""

    __slots__ = ()

    instruction: ClassVar[str]
    """The DSD operation of one element, by its name in the tables of costs."""
    is_chain: ClassVar = True

    values: Block

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.values)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return block_sizes(program, self.values, launch)

    def traffic(self, program: ProgramShape, launch: Launch) -> Traffic:
        elements = self.sizes(program, launch)["elements"]
        return Traffic(Axis.Y, self.instruction, elements, is_chain=self.is_chain, of_heads=True)

    def parts(self, memories: Memories) -> Iterator[tuple[Array, int, slice]]:
        """Yield each group's values, `[across, along, …]`, its root's index, and its places."""
        values = memories.along(Axis.Y, self.values)
        for where, root in memories.program.chains(Axis.Y).heads():
            yield values[:, where], root - where.start, where


class _Chain(_InGroups):
    """A chain collective to the root of each group."""

    __slots__ = ()

    combine: ClassVar[Callable[[Array, Array], Array]]
    """A function that combines f32 arrays element by element, as the instruction does."""

    def execute(self, memories: Memories) -> None:
        leaders = memories.program.chains(Axis.Y).leaders()
        for values, root, where in self.parts(memories):
            reduce_along(values, root, leaders[where], type(self).combine)


def _chain_kind(number: int, name: str, function: str) -> Kind:
    return Kind(
        number,
        name,
        f"""
        moving = n;
        head_chain.{function}(sums(result, n), n);
        return;
        """,
        flags=("has_head_chains",),
        is_collective=True,
    )


@dataclass(frozen=True, slots=True)
class ReduceInGroups(_Chain):
    """Sum f32 blocks along y into the root of each group, in the order of `reduce_along`."""

    kinds = (_chain_kind(120, "reduce_in_groups", "reduce"),)

    values: Block
    combine = staticmethod(arithmetic.add)
    instruction = "fadds"


@dataclass(frozen=True, slots=True)
class MaxInGroups(_Chain):
    """Reduce f32 blocks along y to their maximum in each group; NaN if one is NaN."""

    kinds = (_chain_kind(121, "max_in_groups", "reduce_max"),)

    values: Block
    combine = staticmethod(arithmetic.maximum)
    instruction = "fmaxs"


@dataclass(frozen=True, slots=True)
class BroadcastInGroups(_InGroups):
    """Copy the f32 block of each group's root to all other PEs of the group."""

    kinds = (
        Kind(
            122,
            "broadcast_in_groups",
            """
            head_chain.broadcast(sums(result, n), n);
            return;
            """,
            is_collective=True,
            task=Task.AFTER_HEAD_CHAIN,
        ),
    )

    values: Block
    instruction = "fmovs"
    is_chain = False

    def execute(self, memories: Memories) -> None:
        for values, root, _ in self.parts(memories):
            copy_along(values, root)


class _Share(MeshOperation):
    """A copy between a block and the part of `room` that belongs to the PE's row in its group.

    There is a part for each PE row of a group, or only one for a block that all its rows share.
    """

    __slots__ = ()

    block: Block
    room: Block
    """A block of one f32 row."""

    @property
    def kind(self) -> Kind:
        return self.kinds[self.block.arena == Arena.GRADIENTS]

    @property
    def num_parts(self) -> int:
        """The number of parts of the room."""
        return self.room.num_elements // self.block.num_elements

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that the cost depends on, for a PE that copies."""
        del launch, program
        return {"elements": self.room.num_elements, "part": self.block.num_elements}

    def own(self, memories: Memories) -> Array:
        """Return the index of each PE's part, `[height, width]`."""
        at = memories.at(Axis.Y)
        return at if self.num_parts > 1 else np.zeros_like(at)

    def view(self, memories: Memories) -> Array:
        """Return the parts of the room, `[height, width, parts, elements]`."""
        return memories.view(self.room, self.num_parts, self.block.num_elements)


def _share_kinds(number: int, name: str, code: str) -> tuple[Kind, Kind]:
    """Return a kind for blocks of activations, and a kind for parameter gradients."""
    return (
        Kind(number, name, code.replace("$block", "sums")),
        Kind(
            number + 1,
            f"{name}_of_gradients",
            code.replace("$block", "gradient"),
            functions=(GRADIENT,),
        ),
    )


@dataclass(frozen=True, slots=True)
class PlaceOwnPart(_Share):
    """Copy a block to its part of the room, and set all other parts to +0.

    If there is only one part, only the first PE row of each group copies.
    """

    kinds = _share_kinds(
        123,
        "place_share",
        """
        const own = place_y();
        @fmovs(sums(result, n), 0.0);
        if (own < inner) @fmovs(sums(result + own * columns, columns), $block(left, columns));
        """,
    )

    room: Block
    block: Block

    def entry(self, program: ProgramShape) -> Entry:
        part, inner = self.block.num_elements, self.num_parts
        entry = block_entry(program, self.kind, self.room, self.block, columns=part, inner=inner)
        return replace(entry, rows=1)

    def execute(self, memories: Memories) -> None:
        parts = np.arange(self.num_parts)
        is_own = memories.at(Axis.Y)[..., np.newaxis] == parts
        values = memories.whole(self.block)[..., np.newaxis, :]
        memories.write(self.room, np.where(is_own[..., np.newaxis], values, np.float32(0)))


@dataclass(frozen=True, slots=True)
class TakeOwnPart(_Share):
    """Copy the PE's part of the room to a block."""

    kinds = _share_kinds(
        125,
        "take_share",
        """
        const own = if (inner > 1) place_y() else 0;
        @fmovs($block(result, n), sums(left + own * n, n));
        """,
    )

    block: Block
    room: Block

    def entry(self, program: ProgramShape) -> Entry:
        entry = block_entry(program, self.kind, self.block, self.room, inner=self.num_parts)
        return replace(entry, rows=1, n=self.block.num_elements)

    def execute(self, memories: Memories) -> None:
        own = self.own(memories)[..., np.newaxis, np.newaxis]
        found = np.take_along_axis(self.view(memories), own, axis=2)
        memories.whole(self.block)[...] = found[..., 0, :]


@dataclass(frozen=True, slots=True)
class ClearOtherGroups(MeshOperation):
    """Set parameter gradients to +0 in all groups but the first.

    A sum over groups then counts earlier gradients once. The first group copies its gradients onto
    themselves, so that all PEs take equally long.
    """

    kinds = (
        Kind(
            127,
            "clear_other_groups",
            """
            const all = gradient(result, n);
            if (layout_mod.get_y_coord() > model.last_y) {
              @fmovs(all, 0.0);
            } else {
              @fmovs(all, all);
            }
            """,
            functions=(GRADIENT,),
        ),
    )

    gradients: Block

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.gradients)

    def execute(self, memories: Memories) -> None:
        memories.whole(self.gradients)[memories.program.size(Axis.Y) :] = 0

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return block_sizes(program, self.gradients, launch)


@dataclass(frozen=True, slots=True)
class Divide(MeshOperation):
    """Divide one number by another."""

    kinds = (
        Kind(128, "divide_numbers", "totals(result)[0] = totals(left)[0] / totals(right)[0];"),
    )

    result: Block
    left: Block
    right: Block

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.result, self.left, self.right)

    def execute(self, memories: Memories) -> None:
        with np.errstate(all="ignore"):
            quotient = memories.whole(self.left) / memories.whole(self.right)
        memories.write(self.result, quotient)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return no sizes: the cost is constant."""
        del program, launch
        return {}
